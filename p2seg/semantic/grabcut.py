"""First semantic maps by GrabCut, seeded by the points: no weights, works anywhere."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from p2seg.data.maps import SemanticMap
from p2seg.errors import UserError
from p2seg.semantic.source import ImageSource

Int = NDArray[np.int64]
Float = NDArray[np.float64]
Mask = NDArray[np.bool_]
Window = tuple[slice, slice]

MIN_SIDE = 16
"""Pixels of a crop below which there is nothing to cut."""

MIN_REACH = 4.0
"""Pixels; two points may lie on one pixel."""

TWICE = 8.0
"""Pixels within which two clicks may be one object that was annotated twice."""

MIN_CROP = 6.0
"""Pixels; no scale has a smaller crop."""

BORDER = 9
"""Side in pixels of the square in which the colors inside and outside of a mask are compared."""

LARGER = 0.35
"""Exponent of the area in a scale's score: a part often has more contrast than its object."""

TRUSTED = 1.5
"""What the score of the scale that the clicks propose is multiplied by."""


CROWD = 40
"""Points of an image above which all of them share one cut per scale."""

CROWD_SIDE = 1.7
"""Size at which the image of a crowd is worked on, in `max_side`."""

CROWD_SCALES = 1.0, 0.5, 0.25
"""Scales of a crowd; each refines the color models of the one before."""


METHOD = 3
"""Counts the changes of what the same settings make of an image: maps of another number are old."""


@dataclass(frozen=True)
class GrabCut(ImageSource):
    """Cuts each point's object out of a crop whose size the image decides.

    The reach of a point is the distance to the nearest other one, at most `lone` of the image's
    short side, drawn toward that bound by `1 - trust`: a small thing is often clicked on or
    next to a large one. The object is cut at the scale of the reach, at half of it, at a quarter
    and so on. The scale whose mask has the most contrast along its border wins; a larger mask
    needs less contrast. At every scale, a disc is surely the object (other points' discs surely
    are or are not, by their class), a larger disc probably, the rest probably not, and beyond the
    crop's circle nothing is. Where objects overlap, a pixel goes to the point that is nearest in
    units of the distance to its nearest neighbor. A click within 8 pixels of an earlier click is
    taken as the same object if the earlier click's mask covers it. The defaults are measured, see
    docs/developers/experiments.md.

    More than 40 points share one cut of the whole image per scale, so that the time hardly depends
    on their number. A pixel of that cut goes to the nearest point in the same unit.

    Attributes:
        lone: reach of a point without neighbors, in short sides of the image.
        trust: exponent of the neighbor's distance in the reach, 0..1.
        sure: radius of the disc that surely belongs to the point, in distances to the nearest; at
            the largest scale, as the next two.
        probable: radius of the disc that probably does, in reaches.
        crop: radius of the crop, in reaches.
        max_side: a crop is worked on at this many pixels a side at most.
        iterations: of GrabCut; one where points share a cut.
    """

    lone: float = 0.45
    trust: float = 0.7
    sure: float = 0.2
    probable: float = 0.5
    crop: float = 1.2
    max_side: int = 160
    iterations: int = 2
    name = "grabcut"

    def __post_init__(self) -> None:
        fields = asdict(self)
        small = [name for name in ("max_side", "iterations") if fields[name] < 1]
        small += [name for name in fields if fields[name] <= 0 and name not in small]
        if small:
            told = ", ".join(f"semantic.source.{name}={fields[name]}" for name in small)
            raise UserError(f"{told}: settings of GrabCut must be > 0")
        if self.trust > 1 or self.max_side < MIN_SIDE:
            raise UserError(
                f"semantic.source.trust={self.trust} semantic.source.max_side={self.max_side}: "
                f"trust must be <= 1 and max_side >= {MIN_SIDE}"
            )

    @property
    def parameters(self) -> dict[str, Any]:
        return {**super().parameters, "method": METHOD}

    def _segment(
        self, image: NDArray[np.uint8], yx: NDArray[np.int64], labels: NDArray[np.int64]
    ) -> SemanticMap:
        semantic = np.zeros(image.shape[:2], np.uint8)
        nearest, reach = self.reaches(yx, min(image.shape[:2]))
        claim = np.full(semantic.shape, np.inf)
        owner = np.full(semantic.shape, -1)
        crowd = self._crowd(image, yx, nearest, reach) if len(yx) > CROWD else None
        for k, point in enumerate(yx):
            earlier = np.flatnonzero(np.hypot(*(yx[:k] - point).T) <= TWICE)
            if owner[tuple(point)] in earlier:
                continue  # one object that was clicked twice: the first keeps the mask
            if crowd is None:
                window, won = self._object(image, yx, labels, nearest, reach[k], k)
            else:
                window, won = crowd[k]
            far = _distance(_pixels(won.shape, won.shape), _from(window, point)) / nearest[k]
            won &= far < claim[window]
            claim[window][won] = far[won]
            owner[window][won] = k
            semantic[window][won] = labels[k]
        return semantic

    def reaches(self, yx: Int, short_side: int) -> tuple[Float, Float]:
        """Distance of each point to the nearest other, bounded, and its reach; `[K]` pixels.

        Clicks that may be on the same object do not count: they say nothing about its size.

        Args:
            yx: `[K, 2]` int64, the pixels clicked, K at least 1.
            short_side: of the image, pixels.
        """
        bound = max(self.lone * short_side, MIN_REACH)
        distances = np.asarray(cKDTree(yx).query(yx, k=10)[0])  # infinite where there are fewer
        others = np.where(distances > TWICE, distances, np.inf).min(1)
        nearest: Float = np.clip(others, MIN_REACH, bound)
        return nearest, nearest**self.trust * bound ** (1 - self.trust)

    def _object(
        self, image: NDArray[np.uint8], yx: Int, labels: Int, nearest: Float, reach: float, k: int
    ) -> tuple[Window, Mask]:
        """The crop of point k's best scale, and its region in that crop, `[h, w]`."""
        scale, best, found = 1.0, -1.0, None
        while found is None or self.crop * reach * scale >= MIN_CROP:
            window = _window(yx[k], self.crop * reach * scale, image.shape)
            crop, inside = image[window], _from(window, yx)
            small, own = self._cut(crop, inside, labels, nearest * scale, reach * scale, k)
            area = own.mean() * crop.shape[0] * crop.shape[1]
            score = _score(small, own, area, scale)
            if score > best:
                best, found = score, (window, own)
            scale /= 2
        window, own = found
        height, width = image[window].shape[:2]
        return window, np.asarray(cv2.resize(own.astype(np.float32), (width, height))) >= 0.5

    def _crowd(
        self, image: NDArray[np.uint8], yx: Int, nearest: Float, reach: Float
    ) -> list[tuple[Window, Mask]]:
        """As `_object`, of every point: all points of the image share a cut per scale."""
        full = np.array(image.shape[:2])
        shape = np.maximum((full * min(1, CROWD_SIDE * self.max_side / full.max())).round(), 1)
        side, size = full / shape, (int(shape[0]), int(shape[1]))
        small = cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA).astype(np.uint8)
        pixels, at = _pixels(image.shape, size), ((yx + 0.5) / side).astype(np.int64)
        radius = np.ceil((self.crop * reach[:, None] + 1) / side).astype(np.int64).max(1)
        owner, far, best = np.full(size, -1), np.full(size, np.inf), np.full(size, np.inf)
        for k, point in enumerate(yx):
            window = _window(at[k], radius[k], size)
            apart = _distance((pixels[0][window[0]], pixels[1][:, window[1]]), point)
            won = apart / nearest[k] < best[window]
            best[window][won], owner[window][won] = apart[won] / nearest[k], k
            far[window][won] = apart[won]
        found = [(_window(at[k], 0, size), np.zeros((1, 1), bool)) for k in range(len(yx))]
        scores, models = np.zeros(len(yx)), (np.zeros((1, 65)), np.zeros((1, 65)))
        for scale in CROWD_SCALES:
            seeds = np.full(size, cv2.GC_PR_BGD, np.uint8)
            seeds[far <= self.probable * reach[owner] * scale] = cv2.GC_PR_FGD
            seeds[far > self.crop * reach[owner] * scale] = cv2.GC_BGD
            sure = np.maximum(self.sure * nearest[owner] * scale, 0.75 * side.max())
            seeds[far <= sure] = cv2.GC_FGD
            regions = np.where(_foreground(small, seeds, 1, models), owner, -1)
            for k in np.flatnonzero(
                (self.crop * reach * scale >= MIN_CROP) | (scale == 1)
            ).tolist():
                window = _window(at[k], radius[k] * scale, size)
                own = _region(regions[window] == k, tuple(_from(window, at[k])))
                score = _score(small[window], own, own.sum() * side.prod(), scale)
                if score > scores[k]:
                    found[k], scores[k] = (window, own), score
        return [_enlarged(*each, side) for each in found]

    def _cut(
        self, crop: NDArray[np.uint8], yx: Int, labels: Int, nearest: Float, reach: float, k: int
    ) -> tuple[NDArray[np.uint8], Mask]:
        """The crop shrunk to `max_side`, and the region of point k in it; `yx` counts from the
        crop's corner."""
        height, width = crop.shape[:2]
        shrink = min(1.0, self.max_side / max(height, width))
        shape = max(1, round(height * shrink)), max(1, round(width * shrink))
        small = cv2.resize(crop, shape[::-1], interpolation=cv2.INTER_AREA).astype(np.uint8)
        pixels = _pixels(crop.shape, shape)
        far = _distance(pixels, yx[k])
        seeds = np.full(shape, cv2.GC_PR_BGD, np.uint8)
        seeds[far <= self.probable * reach] = cv2.GC_PR_FGD
        seeds[far > self.crop * reach] = cv2.GC_BGD
        # no disc falls between the pixels of the shrunk crop
        sure = np.maximum(self.sure * nearest, 0.75 * max(height / shape[0], width / shape[1]))
        inside = ((yx >= 0) & (yx < (height, width))).all(1)
        inside &= np.hypot(*(yx - yx[k]).T) > TWICE
        for j in np.flatnonzero(inside):
            same = labels[j] == labels[k]
            seeds[_distance(pixels, yx[j]) <= sure[j]] = cv2.GC_FGD if same else cv2.GC_BGD
        seeds[far <= sure[k]] = cv2.GC_FGD
        foreground = _foreground(small, seeds, self.iterations)
        return small, _region(foreground, np.unravel_index(far.argmin(), shape))


def _region(mask: Mask, at: tuple[np.intp, ...]) -> Mask:
    """The part of a mask that is connected with a pixel."""
    regions = np.asarray(cv2.connectedComponents(mask.astype(np.uint8))[1])
    own: Mask = mask & (regions == regions[at])
    return own


def _enlarged(window: Window, mask: Mask, side: Float) -> tuple[Window, Mask]:
    """A window of a shrunk image and a mask `[h, w]` in it, in pixels of the image; one pixel of
    the shrunk image has `side` (height, width)."""
    y, x = (
        slice(round(part.start * one), round(part.stop * one))
        for part, one in zip(window, side.tolist(), strict=True)
    )
    shape = x.stop - x.start, y.stop - y.start
    return (y, x), np.asarray(cv2.resize(mask.astype(np.float32), shape)) >= 0.5


def _score(image: NDArray[np.uint8], mask: Mask, area: float, scale: float) -> float:
    """How good a mask is; `area` is in pixels of the whole image."""
    return float(_contrast(image, mask) * area**LARGER * (TRUSTED if scale == 1 else 1))


def _contrast(image: NDArray[np.uint8], mask: Mask) -> float:
    """How far the colors on the two sides of a mask's border are apart: along three quarters of
    the border they are farther. 0 where the mask has no border."""
    inside, colors, square = mask.astype(np.float32), image.astype(np.float32), np.ones((3, 3))
    border = cv2.dilate(inside, square) > cv2.erode(inside, square)
    if not border.any():
        return 0.0
    side = (BORDER, BORDER)
    share = cv2.blur(inside, side)[border][:, None]
    ours = cv2.blur(colors * inside[..., None], side)[border]
    theirs = cv2.blur(colors, side)[border] - ours
    few = 1e-6
    apart = ours / np.maximum(share, few) - theirs / np.maximum(1 - share, few)
    return float(np.quantile(np.linalg.norm(apart, axis=1), 0.25))


def _foreground(
    image: NDArray[Any],
    seeds: NDArray[np.uint8],
    iterations: int,
    models: tuple[Float, Float] | None = None,
) -> Mask:
    """GrabCut's foreground, `[h, w]`; the seeds' own where it has nothing to decide.

    Args:
        image: `[h, w, 3]` uint8.
        seeds: `[h, w]`, what is known; it is overwritten.
        iterations: of GrabCut.
        models: of the colors, which are refined; zeros are replaced. None: of no use afterwards.
    """
    surely, probably = seeds == cv2.GC_FGD, seeds == cv2.GC_PR_FGD
    background = ~(surely | probably)
    if background.any() and (probably | (seeds == cv2.GC_PR_BGD)).any():
        cv2.setRNGSeed(0)  # the color clusters start at random
        background_model, foreground_model = models or (np.zeros((1, 65)), np.zeros((1, 65)))
        mode = cv2.GC_EVAL if foreground_model.any() else cv2.GC_INIT_WITH_MASK
        cv2.grabCut(
            image, seeds, (0, 0, 0, 0), background_model, foreground_model, iterations, mode
        )
    cut: Mask = (seeds == cv2.GC_FGD) | (seeds == cv2.GC_PR_FGD)
    return cut


def _from(window: Window, yx: Int) -> Int:
    """Pixels `[..., 2]` of the image, counted from the window's corner."""
    counted: Int = yx - np.array([side.start for side in window])
    return counted


def _window(center: Int, radius: float, shape: tuple[int, ...]) -> Window:
    """The square of `radius` around a pixel, cut by the image."""
    low = np.maximum(center - round(radius), 0)
    high = np.minimum(center + round(radius) + 1, shape[:2])
    return slice(int(low[0]), int(high[0])), slice(int(low[1]), int(high[1]))


def _pixels(shape: tuple[int, ...], grid: tuple[int, ...]) -> tuple[Float, Float]:
    """Where the centers of a `grid` laid over `shape` lie, `[h, 1]` and `[1, w]`, in pixels."""
    y, x = ((np.arange(n) + 0.5) * size / n - 0.5 for size, n in zip(shape[:2], grid, strict=False))
    return y[:, None], x[None, :]


def _distance(pixels: tuple[Float, Float], point: Int) -> Float:
    """Distance of every pixel to a point, `[h, w]`."""
    distance: Float = np.hypot(pixels[0] - point[0], pixels[1] - point[1])
    return distance
