"""Boxes, outlines and masks, and the click that is derived from each."""

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
"""Corners of the polygon that approximates a circle or an ellipse."""


class Region(ABC):
    """Pixels of one object, in the coordinates of its tool."""

    kind: str
    """Noun for counts and messages."""

    @abstractmethod
    def click(
        self, size: tuple[int, int], shift: float, sampler: str, rng: np.random.Generator
    ) -> tuple[float, float] | None:
        """The click that stands for the region.

        Args:
            size: (height, width) of the image, pixels.
            shift: offset from the tool's coordinates to those along pixel edges.
            sampler: a name of `SAMPLERS`.
            rng: random numbers of the sampler `random`.

        Returns:
            (y, x), with the center of the first pixel at (0, 0); None if the region lies outside
            the image.

        Raises:
            ValueError: the region is invalid. The message continues "shape 3".
        """

    @abstractmethod
    def extent(self, size: tuple[int, int]) -> float:
        """Approximate area in pixels. The largest part of an object receives the click.

        Args:
            size: (height, width) of the image, pixels.

        Raises:
            ValueError: the region is invalid, as in `click`.
        """


@dataclass(frozen=True)
class Outline(Region):
    """A polygon, box, circle or ellipse.

    Attributes:
        corners: (x, y) of each, at least three.
        kind: noun for counts and messages.
        on_edges: corners are along pixel edges, even if the tool's clicks are not.
        symmetric: the mean of the corners is inside and is the click. A box has many points that
            are farthest from its boundary, so the sampler alone would not choose the center.
    """

    corners: Sequence[tuple[float, float]]
    kind: str = "polygon"
    symmetric: bool = False
    on_edges: bool = False

    def click(
        self, size: tuple[int, int], shift: float, sampler: str, rng: np.random.Generator
    ) -> tuple[float, float] | None:
        """See `Region.click`. A polygon smaller than a pixel gives its center."""
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
        point = _sampled(mask, sampler, rng)
        if point is None:
            return (y - 0.5, x - 0.5) if inside else None
        return point[0] + float(low[1]), point[1] + float(low[0])

    def extent(self, size: tuple[int, int]) -> float:
        """See `Region.extent`. The area is 0 outside the image."""
        x, y = np.array(self.corners, np.float64).T
        if max(x.max(), y.max()) < 0 or x.min() > size[1] or y.min() > size[0]:
            return 0.0
        return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2


@dataclass(frozen=True)
class Bitmap(Region):
    """A mask of a window of the image, decoded on demand to save memory.

    Attributes:
        decode: returns `[h, w]` bool, or raises a `ValueError` like `Region.click`.
        shape: (h, w), pixels. A mask larger than the image is not decoded.
        top: row of the window in the image.
        left: column of the window in the image.
        kind: noun for counts and messages.
    """

    decode: Callable[[], Mask]
    shape: tuple[int, int]
    top: int
    left: int
    kind: str = "mask"

    def click(
        self, size: tuple[int, int], shift: float, sampler: str, rng: np.random.Generator
    ) -> tuple[float, float] | None:
        """See `Region.click`. Pixels have no shift."""
        del shift
        height, width = size
        y, x = max(-self.top, 0), max(-self.left, 0)
        mask = self._mask(size)[y : max(height - self.top, 0), x : max(width - self.left, 0)]
        point = _sampled(mask, sampler, rng)
        if point is None:
            return None
        return point[0] + self.top + y, point[1] + self.left + x

    def extent(self, size: tuple[int, int]) -> float:
        """See `Region.extent`."""
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
        segmentation: raw value of the file.
        kind: noun for counts and messages.
    """

    segmentation: Any
    kind: str = "mask"

    def click(
        self, size: tuple[int, int], shift: float, sampler: str, rng: np.random.Generator
    ) -> tuple[float, float] | None:
        """See `Region.click`. COCO's outlines always run along pixel edges."""
        del shift
        return _sampled(
            codec.decode(codec.from_segmentation(self.segmentation, *size)), sampler, rng
        )

    def extent(self, size: tuple[int, int]) -> float:
        """See `Region.extent`."""
        return float(codec.area(codec.from_segmentation(self.segmentation, *size)))


def box(
    x0: float, y0: float, x1: float, y1: float, turn: float = 0.0, kind: str = "box"
) -> Outline:
    """A box from two opposite corners, rotated clockwise about its center by `turn` degrees."""
    x, y = (x0 + x1) / 2, (y0 + y1) / 2
    cos, sin = math.cos(math.radians(turn)), math.sin(math.radians(turn))
    half = [(x0 - x, y0 - y), (x1 - x, y0 - y), (x1 - x, y1 - y), (x0 - x, y1 - y)]
    corners = [(x + u * cos - v * sin, y + u * sin + v * cos) for u, v in half]
    return Outline(corners, kind, symmetric=True)


def rectangle(corners: Sequence[tuple[float, float]], kind: str = "rectangle") -> Outline:
    """A possibly rotated box from two opposite corners, three or all four, in any order."""
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
    """An ellipse from its center and radii, rotated clockwise by `turn` degrees."""
    cos, sin = math.cos(math.radians(turn)), math.sin(math.radians(turn))
    angles = [2 * math.pi * k / CORNERS for k in range(CORNERS)]
    around = [(rx * math.cos(a), ry * math.sin(a)) for a in angles]
    corners = [(x + u * cos - v * sin, y + u * sin + v * cos) for u, v in around]
    return Outline(corners, kind, symmetric=True)


def _sampled(
    mask: NDArray[np.bool_], sampler: str, rng: np.random.Generator
) -> tuple[float, float] | None:
    """The sampler's point of a mask, or None if the mask is empty."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return None
    top, left = int(rows[0]), int(columns[0])
    y, x = SAMPLERS[sampler](mask[top : rows[-1] + 1, left : columns[-1] + 1], rng)
    return float(top + y), float(left + x)
