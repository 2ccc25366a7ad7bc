"""What is no click, and the click that is derived of it: boxes, outlines, masks."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from p2seg.data import rle as codec
from p2seg.data.points import SAMPLERS, Mask

CORNERS = 32
"""Of the polygon that stands for a circle or an ellipse."""


class Region(ABC):
    """Pixels of one object, in the coordinates of its tool."""

    kind: str
    """What it is called in counts."""

    @abstractmethod
    def click(
        self, size: tuple[int, int], shift: float, sampler: str, rng: np.random.Generator
    ) -> tuple[float, float] | None:
        """One point of it.

        Args:
            size: (height, width) of its image, pixels.
            shift: what takes the tool's coordinates to those that run along the pixels' edges.
            sampler: a name of `SAMPLERS`.
            rng: of the sampler `random`.

        Returns:
            (y, x), the center of the first pixel at (0, 0); None where none of it is in the image.

        Raises:
            ValueError: it cannot be; the words go behind "shape 3".
        """

    @abstractmethod
    def extent(self, size: tuple[int, int]) -> float:
        """About how large it is, pixels: of the parts of an object the largest one is clicked.

        Args:
            size: (height, width) of its image, pixels.

        Raises:
            ValueError: it cannot be; as of `click`.
        """


@dataclass(frozen=True)
class Outline(Region):
    """A polygon, box, circle or ellipse.

    Attributes:
        corners: (x, y) of each, at least three.
        kind: in words.
        on_edges: its corners run along the pixels' edges, whatever the clicks do.
        symmetric: its center is the mean of its corners and inside it. Of all points that are
            farthest from a box's edge the center is the one that is clicked.
    """

    corners: Sequence[tuple[float, float]]
    kind: str = "polygon"
    symmetric: bool = False
    on_edges: bool = False

    def click(
        self, size: tuple[int, int], shift: float, sampler: str, rng: np.random.Generator
    ) -> tuple[float, float] | None:
        """As `Region` says; of a polygon smaller than a pixel, its middle."""
        height, width = size
        xy = np.array(self.corners, np.float64) + (0.0 if self.on_edges else shift)
        far = codec.FAR * max(size)
        if len(xy) < 3:
            raise ValueError(f"has {len(xy)} corners; a {self.kind} needs 3 or more")
        if xy.min() < -far or xy.max() > far:
            raise ValueError(f"lies far outside the image of {width}x{height}")
        x, y = xy.mean(0).tolist()
        inside = 0 <= x <= width and 0 <= y <= height
        if self.symmetric and sampler != "random" and inside:
            return y - 0.5, x - 0.5
        low = np.floor(xy.min(0)).clip(0).astype(int)
        high = np.ceil(xy.max(0)).clip(None, [width, height]).astype(int)
        if (high <= low).any():
            return None
        columns, rows = (high - low).tolist()
        polygon = (xy - low).ravel().tolist()
        mask = codec.decode(codec.from_segmentation([polygon], rows, columns))
        found = _sampled(mask, sampler, rng)
        if found is None:
            return (y - 0.5, x - 0.5) if inside else None
        return found[0] + float(low[1]), found[1] + float(low[0])

    def extent(self, size: tuple[int, int]) -> float:
        """Its area, pixels; none of what lies outside the image."""
        x, y = np.array(self.corners, np.float64).T
        if max(x.max(), y.max()) < 0 or x.min() > size[1] or y.min() > size[0]:
            return 0.0
        return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2


@dataclass(frozen=True)
class Bitmap(Region):
    """A mask of a part of the image, decoded when it is asked for: a small file may hold many.

    Attributes:
        decode: gives `[h, w]` bool, or raises a `ValueError` as `Region.click` does.
        shape: (h, w), pixels; a larger one than the image is not decoded.
        top: the image's row of its first one.
        left: the image's column of its first one.
        kind: in words.
    """

    decode: Callable[[], Mask]
    shape: tuple[int, int]
    top: int
    left: int
    kind: str = "mask"

    def click(
        self, size: tuple[int, int], shift: float, sampler: str, rng: np.random.Generator
    ) -> tuple[float, float] | None:
        """As `Region` says; pixels have no shift."""
        del shift
        height, width = size
        up, before = max(-self.top, 0), max(-self.left, 0)
        mask = self._mask(size)[up : max(height - self.top, 0), before : max(width - self.left, 0)]
        found = _sampled(mask, sampler, rng)
        if found is None:
            return None
        return found[0] + self.top + up, found[1] + self.left + before

    def extent(self, size: tuple[int, int]) -> float:
        """Its area, pixels."""
        return float(np.count_nonzero(self._mask(size)))

    def _mask(self, size: tuple[int, int]) -> Mask:
        if self.shape[0] > size[0] or self.shape[1] > size[1]:
            raise ValueError(
                f"is a mask of {self.shape[1]}x{self.shape[0]} on an image of {size[1]}x{size[0]}; "
                "draw it again"
            )
        return self.decode()


@dataclass(frozen=True)
class Coded(Region):
    """COCO's segmentation of one object: polygons or a run-length code of the whole image.

    Attributes:
        segmentation: as the file has it.
        kind: in words.
    """

    segmentation: Any
    kind: str = "mask"

    def click(
        self, size: tuple[int, int], shift: float, sampler: str, rng: np.random.Generator
    ) -> tuple[float, float] | None:
        """As `Region` says; COCO's outlines always run along the edges."""
        del shift
        return _sampled(
            codec.decode(codec.from_segmentation(self.segmentation, *size)), sampler, rng
        )

    def extent(self, size: tuple[int, int]) -> float:
        """Its area, pixels."""
        return float(codec.area(codec.from_segmentation(self.segmentation, *size)))


def box(
    x0: float, y0: float, x1: float, y1: float, turn: float = 0.0, kind: str = "box"
) -> Outline:
    """A box by two opposite corners, turned about its center by degrees, clockwise."""
    x, y = (x0 + x1) / 2, (y0 + y1) / 2
    cos, sin = math.cos(math.radians(turn)), math.sin(math.radians(turn))
    half = [(x0 - x, y0 - y), (x1 - x, y0 - y), (x1 - x, y1 - y), (x0 - x, y1 - y)]
    corners = [(x + u * cos - v * sin, y + u * sin + v * cos) for u, v in half]
    return Outline(corners, kind, symmetric=True)


def rectangle(corners: Sequence[tuple[float, float]], kind: str = "rectangle") -> Outline:
    """A box by its corners in any order: two opposite ones, three, or all four, also turned."""
    corners = list(corners)
    if len(corners) == 5 and corners[0] == corners[-1]:
        del corners[-1]
    if len(corners) == 2:
        return box(*corners[0], *corners[1], kind=kind)
    if len(corners) == 3:  # the longest side is the diagonal, the third corner is opposite the last
        last = max(corners, key=lambda c: -sum(math.dist(c, other) for other in corners))
        (x0, y0), (x1, y1) = (c for c in corners if c is not last)
        corners.append((x0 + x1 - last[0], y0 + y1 - last[1]))
    if len(corners) != 4:
        return Outline(corners, kind)
    x, y = (sum(values) / 4 for values in zip(*corners, strict=True))
    around = sorted(corners, key=lambda corner: math.atan2(corner[1] - y, corner[0] - x))
    return Outline(around, kind, symmetric=True)


def ellipse(
    x: float, y: float, rx: float, ry: float, turn: float = 0.0, kind: str = "ellipse"
) -> Outline:
    """An ellipse by its center and radii, turned by degrees, clockwise."""
    cos, sin = math.cos(math.radians(turn)), math.sin(math.radians(turn))
    angles = [2 * math.pi * k / CORNERS for k in range(CORNERS)]
    around = [(rx * math.cos(a), ry * math.sin(a)) for a in angles]
    corners = [(x + u * cos - v * sin, y + u * sin + v * cos) for u, v in around]
    return Outline(corners, kind, symmetric=True)


def _sampled(
    mask: NDArray[np.bool_], sampler: str, rng: np.random.Generator
) -> tuple[float, float] | None:
    """The sampler's point of a mask, None where it is empty."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return None
    top, left = int(rows[0]), int(columns[0])
    y, x = SAMPLERS[sampler](mask[top : rows[-1] + 1, left : columns[-1] + 1], rng)
    return float(top + y), float(left + x)
