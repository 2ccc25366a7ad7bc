"""Initial semantic maps by GrabCut, seeded by the points. The method needs no weights."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from p2seg.data.maps import SemanticMap
from p2seg.errors import UserError
from p2seg.semantic.contrast import border_contrast
from p2seg.semantic.source import ImageSource
from p2seg.semantic.windows import (
    Float,
    Int,
    Mask,
    Window,
    distance_to,
    enlarged,
    pixel_centers,
    relative_to,
    window_around,
)

MIN_SIDE = 16
"""Smallest allowed `max_side`, pixels."""

MIN_REACH = 4.0
"""Smallest reach in pixels, as two points may lie on one pixel."""

DUPLICATE = 8.0
"""Pixels within which two clicks may be one object that was annotated twice."""

MIN_CROP = 6.0
"""Smallest radius of a crop, pixels."""

BORDER = 9
"""Side in pixels of the square in which the colors inside and outside of a mask are compared."""

AREA_EXPONENT = 0.35
"""Exponent of the area in a scale's score: a part often has more contrast than its object."""

FULL_SCALE_BONUS = 1.5
"""Factor on the score of scale 1, which the distances between the clicks suggest."""

CROWD = 40
"""With more points, all points of an image share one cut per scale."""

CROWD_SIDE = 1.7
"""Size of the shrunk image of a crowd, in `max_side`."""

CROWD_SCALES = 1.0, 0.5, 0.25
"""Scales of a crowd. Each refines the color models of the previous one."""

METHOD = 3
"""Version of the algorithm. A change makes existing maps outdated."""


@dataclass(frozen=True)
class GrabCut(ImageSource):
    """GrabCut in a crop around each point, at the scale with the best mask.

    The reach of a point is the geometric mean of the distance to the nearest other point and of
    `lone`, with weight `trust`. Small objects are often clicked next to large ones. Each
    object is cut at the scale of the reach, at a half, at a quarter and so on. The scale with the
    highest score is chosen, by contrast along the border and by area. At every scale, a small disc
    is certain foreground, a larger disc probable foreground, the rest probable background, and
    everything beyond the crop's circle certain background. Discs of other points are certain
    foreground or background by their class. Where objects overlap, a pixel goes to the nearest
    point in units of its distance to its nearest neighbor. A click within 8 pixels of an earlier
    click and on its mask is the same object. docs/developers/experiments.md measures the defaults.

    More than 40 points share one cut of the whole image per scale, so that the time hardly depends
    on their number. A pixel of that cut goes to the nearest point in the same unit.

    Attributes:
        lone: reach of a point without neighbors, in short sides of the image.
        trust: exponent of the neighbor's distance in the reach, 0..1.
        sure: radius of the certain disc at scale 1, in distances to the nearest point.
        probable: radius of the probable disc at scale 1, in reaches.
        crop: radius of the crop at scale 1, in reaches.
        max_side: larger crops are shrunk to this side, pixels.
        iterations: iterations of GrabCut; 1 for a shared cut.
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
            keys = ", ".join(f"semantic.source.{name}={fields[name]}" for name in small)
            raise UserError(f"{keys}: settings of GrabCut must be > 0")
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
            earlier = np.flatnonzero(np.hypot(*(yx[:k] - point).T) <= DUPLICATE)
            if owner[tuple(point)] in earlier:
                continue  # an object that was clicked twice
            if crowd is None:
                window, mask = self._object(image, yx, labels, nearest, reach[k], k)
            else:
                window, mask = crowd[k]
            distance = (
                distance_to(pixel_centers(mask.shape, mask.shape), relative_to(window, point))
                / nearest[k]
            )
            mask &= distance < claim[window]
            claim[window][mask] = distance[mask]
            owner[window][mask] = k
            semantic[window][mask] = labels[k]
        return semantic

    def reaches(self, yx: Int, short_side: int) -> tuple[Float, Float]:
        """The bounded distance of each point to the nearest other, and its reach; `[K]` pixels.

        Clicks that may be on the same object do not count, as they do not limit its size.

        Args:
            yx: `[K, 2]` int64, the clicked pixels, K at least 1.
            short_side: short side of the image, pixels.
        """
        bound = max(self.lone * short_side, MIN_REACH)
        distances = np.asarray(cKDTree(yx).query(yx, k=10)[0])  # infinite with fewer points
        others = np.where(distances > DUPLICATE, distances, np.inf).min(1)
        nearest: Float = np.clip(others, MIN_REACH, bound)
        return nearest, nearest**self.trust * bound ** (1 - self.trust)

    def _object(
        self, image: NDArray[np.uint8], yx: Int, labels: Int, nearest: Float, reach: float, k: int
    ) -> tuple[Window, Mask]:
        """The crop of point k's best scale, and its region in that crop, `[h, w]`."""
        scale, best, result = 1.0, -1.0, None
        while result is None or self.crop * reach * scale >= MIN_CROP:
            window = window_around(yx[k], self.crop * reach * scale, image.shape)
            crop, inside = image[window], relative_to(window, yx)
            small, own = self._cut(crop, inside, labels, nearest * scale, reach * scale, k)
            area = own.mean() * crop.shape[0] * crop.shape[1]
            score = _score(small, own, area, scale)
            if score > best:
                best, result = score, (window, own)
            scale /= 2
        window, own = result
        height, width = image[window].shape[:2]
        return window, np.asarray(cv2.resize(own.astype(np.float32), (width, height))) >= 0.5

    def _crowd(
        self, image: NDArray[np.uint8], yx: Int, nearest: Float, reach: Float
    ) -> list[tuple[Window, Mask]]:
        """The result of `_object` for every point, from one shared cut per scale."""
        full = np.array(image.shape[:2])
        shape = np.maximum((full * min(1, CROWD_SIDE * self.max_side / full.max())).round(), 1)
        side, size = full / shape, (int(shape[0]), int(shape[1]))
        small = cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA).astype(np.uint8)
        pixels, at = pixel_centers(image.shape, size), ((yx + 0.5) / side).astype(np.int64)
        radius = np.ceil((self.crop * reach[:, None] + 1) / side).astype(np.int64).max(1)
        owner, far, best = np.full(size, -1), np.full(size, np.inf), np.full(size, np.inf)
        for k, point in enumerate(yx):
            window = window_around(at[k], radius[k], size)
            distance = distance_to((pixels[0][window[0]], pixels[1][:, window[1]]), point)
            nearer = distance / nearest[k] < best[window]
            best[window][nearer], owner[window][nearer] = distance[nearer] / nearest[k], k
            far[window][nearer] = distance[nearer]
        results = [(window_around(at[k], 0, size), np.zeros((1, 1), bool)) for k in range(len(yx))]
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
                window = window_around(at[k], radius[k] * scale, size)
                own = _region(regions[window] == k, tuple(relative_to(window, at[k])))
                score = _score(small[window], own, own.sum() * side.prod(), scale)
                if score > scores[k]:
                    results[k], scores[k] = (window, own), score
        return [enlarged(*each, side) for each in results]

    def _cut(
        self, crop: NDArray[np.uint8], yx: Int, labels: Int, nearest: Float, reach: float, k: int
    ) -> tuple[NDArray[np.uint8], Mask]:
        """The crop shrunk to `max_side`, and the region of point k in it.

        `yx` is relative to the crop's corner.
        """
        height, width = crop.shape[:2]
        shrink = min(1.0, self.max_side / max(height, width))
        shape = max(1, round(height * shrink)), max(1, round(width * shrink))
        small = cv2.resize(crop, shape[::-1], interpolation=cv2.INTER_AREA).astype(np.uint8)
        pixels = pixel_centers(crop.shape, shape)
        far = distance_to(pixels, yx[k])
        seeds = np.full(shape, cv2.GC_PR_BGD, np.uint8)
        seeds[far <= self.probable * reach] = cv2.GC_PR_FGD
        seeds[far > self.crop * reach] = cv2.GC_BGD
        # Every disc covers at least one pixel of the shrunk crop.
        sure = np.maximum(self.sure * nearest, 0.75 * max(height / shape[0], width / shape[1]))
        inside = ((yx >= 0) & (yx < (height, width))).all(1)
        inside &= np.hypot(*(yx - yx[k]).T) > DUPLICATE
        for j in np.flatnonzero(inside):
            same = labels[j] == labels[k]
            seeds[distance_to(pixels, yx[j]) <= sure[j]] = cv2.GC_FGD if same else cv2.GC_BGD
        seeds[far <= sure[k]] = cv2.GC_FGD
        foreground = _foreground(small, seeds, self.iterations)
        return small, _region(foreground, np.unravel_index(far.argmin(), shape))


def _region(mask: Mask, at: tuple[np.intp, ...]) -> Mask:
    """The component of a mask that contains the pixel `at`."""
    regions = np.asarray(cv2.connectedComponents(mask.astype(np.uint8))[1])
    own: Mask = mask & (regions == regions[at])
    return own


def _score(image: NDArray[np.uint8], mask: Mask, area: float, scale: float) -> float:
    """The quality of a mask at a scale. `area` is in pixels of the whole image."""
    bonus = FULL_SCALE_BONUS if scale == 1 else 1
    return border_contrast(image.astype(np.float32), mask, BORDER) * float(
        area**AREA_EXPONENT * bonus
    )


def _foreground(
    image: NDArray[Any],
    seeds: NDArray[np.uint8],
    iterations: int,
    models: tuple[Float, Float] | None = None,
) -> Mask:
    """GrabCut's foreground `[h, w]`, or the seeds' foreground if all pixels are certain.

    Args:
        image: `[h, w, 3]` uint8.
        seeds: `[h, w]` labels of GrabCut, which are overwritten.
        iterations: iterations of GrabCut.
        models: color models of background and foreground, which are refined in place. Zeros are
            initialized. None: temporary models.
    """
    probable = seeds == cv2.GC_PR_FGD
    background = ~(probable | (seeds == cv2.GC_FGD))
    if background.any() and (probable | (seeds == cv2.GC_PR_BGD)).any():
        cv2.setRNGSeed(0)  # the color clusters start at random
        background_model, foreground_model = models or (np.zeros((1, 65)), np.zeros((1, 65)))
        mode = cv2.GC_EVAL if foreground_model.any() else cv2.GC_INIT_WITH_MASK
        cv2.grabCut(
            image, seeds, (0, 0, 0, 0), background_model, foreground_model, iterations, mode
        )
    cut: Mask = (seeds == cv2.GC_FGD) | (seeds == cv2.GC_PR_FGD)
    return cut
