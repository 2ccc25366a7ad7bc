"""Shapes, materials and backgrounds of the synthetic data set.

Images are float32 RGB in 0..1. The object coordinates (u, v) run along and across the axis of an
object, both from -1 to 1.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

CLASSES = ["fruit", "leaf", "star", "ring"]
"""Names of the classes; the k-th is class k (1..4)."""
FRUIT, LEAF, STAR, RING = range(1, 5)

HOLE = 0.5
"""Radius of the hole of a ring, relative to the radius of the ring."""

Plane = NDArray[Any]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Shape:
    """An object outline at a place in the image.

    Attributes:
        label: class index.
        y: row of the center, pixels.
        x: column of the center, pixels.
        length: half the extent along the axis, pixels.
        breadth: half the extent across the axis, pixels.
        angle: direction of the axis, radians.
        bend: curvature of the axis of a leaf.
    """

    label: int
    y: float
    x: float
    length: float
    breadth: float
    angle: float
    bend: float

    @property
    def is_long(self) -> bool:
        """Whether the object is elongated."""
        return self.breadth < 0.7 * self.length

    @property
    def reach(self) -> float:
        """Upper bound of the distance between the center and the outline, pixels."""
        return 1.2 * max(self.length, self.breadth)

    @property
    def area(self) -> float:
        """Area in pixels, including the part outside the image."""
        whole, *holes = self.outlines()
        return cv2.contourArea(whole) - sum(cv2.contourArea(hole) for hole in holes)

    def scaled(self, factor: int) -> Shape:
        """The same shape in an image `factor` times as large."""
        return replace(
            self,
            y=(self.y + 0.5) * factor - 0.5,
            x=(self.x + 0.5) * factor - 0.5,
            length=self.length * factor,
            breadth=self.breadth * factor,
        )

    def outlines(self) -> list[Plane]:
        """The outer outline, and the outline of the hole of a ring: `[n, 2]` (x, y) pixels."""
        turn = np.linspace(0, 2 * np.pi, 90, endpoint=False)
        radius = np.ones_like(turn)
        if self.label == STAR:
            radius = 0.42 + 0.58 * np.abs(np.cos(2.5 * turn)) ** 1.6
        elif self.label == FRUIT:
            radius = 1 + 0.04 * np.cos(3 * turn + self.bend * 9)
        u, v = radius * np.cos(turn), radius * np.sin(turn)
        if self.label == LEAF:
            v = np.sign(v) * (1 - np.abs(u) ** 1.7) + self.bend * (1 - u**2)
        outlines = [np.stack([u, v])]
        if self.label == RING:
            outlines.append(outlines[0] * HOLE)
        return [self._to_image(points) for points in outlines]

    def mask(self, height: int, width: int) -> Mask:
        """The pixels of the object, `[height, width]` bool."""
        canvas = np.zeros((height, width), np.uint8)
        points = [np.round(outline * 16).astype(np.int32) for outline in self.outlines()]
        cv2.fillPoly(canvas, points, 1, shift=4)
        return canvas.astype(bool)

    def coordinates(self, rows: Plane, columns: Plane) -> tuple[Plane, Plane]:
        """Object coordinates (u, v) of the pixels at `rows` and `columns`."""
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        dy, dx = rows - self.y, columns - self.x
        u = (dx * cos + dy * sin) / self.length
        v = (dy * cos - dx * sin) / self.breadth
        if self.label == LEAF:
            v = v - self.bend * (1 - u**2)
        return u.astype(np.float32), v.astype(np.float32)

    def _to_image(self, points: NDArray[np.float64]) -> Plane:
        u, v = points[0] * self.length, points[1] * self.breadth
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        outline = np.stack([self.x + u * cos - v * sin, self.y + u * sin + v * cos], axis=1)
        return outline.astype(np.float32)


def new_shape(rng: np.random.Generator, label: int, scale: float) -> Shape:
    """A random shape of a class at the origin.

    Args:
        rng: random generator.
        label: class index.
        scale: factor of all lengths; 1 for images of 128 pixels.
    """
    large = rng.random() < 0.5
    length, ratio = {
        FRUIT: (rng.uniform(20, 27) if large else rng.uniform(9, 13), rng.uniform(0.85, 1)),
        LEAF: (rng.uniform(34, 43) if large else rng.uniform(20, 27), rng.uniform(0.28, 0.38)),
        STAR: (rng.uniform(24, 31) if large else rng.uniform(14, 19), 1.0),
        RING: (rng.uniform(21, 28) if large else rng.uniform(12, 16), rng.uniform(0.75, 1)),
    }[label]
    return Shape(
        label=label,
        y=0.0,
        x=0.0,
        length=length * scale,
        breadth=length * ratio * scale,
        angle=rng.uniform(0, 2 * np.pi),
        bend=rng.uniform(-0.35, 0.35),
    )


def ground(rng: np.random.Generator, height: int, width: int) -> Plane:
    """A background like sand, wood, slate or stone: noise between two colors, `[H, W, 3]`."""
    pairs = [
        ((0.62, 0.53, 0.42), (0.84, 0.77, 0.65)),  # sand
        ((0.25, 0.19, 0.15), (0.46, 0.36, 0.28)),  # wood
        ((0.20, 0.23, 0.27), (0.40, 0.44, 0.49)),  # slate
        ((0.48, 0.48, 0.47), (0.74, 0.73, 0.71)),  # stone
    ]
    dark, light = (np.array(c, np.float32) for c in pairs[int(rng.integers(len(pairs)))])
    mix = np.zeros((height, width), np.float32)
    for octave in range(6):
        cells = rng.random((2 ** (octave + 1) + 1, 2 ** (octave + 1) + 1)).astype(np.float32)
        noise = cv2.resize(cells, (width, height), interpolation=cv2.INTER_CUBIC)
        mix += noise * 0.62**octave
    mix = (mix - mix.min()) / (mix.max() - mix.min())
    picture: Plane = dark + (light - dark) * mix[:, :, None]
    return picture


def paint(
    canvas: Plane, owner: NDArray[np.uint8], shape: Shape, index: int, rng: np.random.Generator
) -> None:
    """Draws an object and its shadow, in place.

    Args:
        canvas: the image, `[H, W, 3]`.
        owner: object indices, `[H, W]`; the pixels of the object become `index`.
        shape: the object, in pixels of the image.
        index: index of the object, from 1.
        rng: random generator of hue and lightness.
    """
    height, width = owner.shape
    reach = int(shape.reach) + 12
    top, left = max(int(shape.y) - reach, 0), max(int(shape.x) - reach, 0)
    bottom, right = min(int(shape.y) + reach, height), min(int(shape.x) + reach, width)
    local = replace(shape, y=shape.y - top, x=shape.x - left)
    mask = local.mask(bottom - top, right - left)
    view, owners = canvas[top:bottom, left:right], owner[top:bottom, left:right]

    shadow = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 4.5)
    shadow = cv2.warpAffine(
        shadow, np.array([[1, 0, 4], [0, 1, 5]], np.float32), shadow.shape[::-1]
    )
    view *= 1 - 0.55 * shadow[:, :, None]

    grid = np.indices(mask.shape, dtype=np.float32)
    u, v = local.coordinates(grid[0], grid[1])
    lit = _material(local.label, u, v, rng) * _relief(mask)[:, :, None]
    view[mask] = lit.clip(0, 1)[mask]
    owners[mask] = index


def _relief(mask: Mask) -> Plane:
    """Shading of a convex surface with light from the upper left and a dark rim, `[H, W]`."""
    depth = cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    part = depth / max(float(depth.max()), 1.0)
    dome = cv2.GaussianBlur(np.sqrt(part * (2 - part)), (0, 0), 2.0) * depth.max()
    slope_y, slope_x = np.gradient(dome)
    facing = (0.8 + 0.6 * slope_x + 0.7 * slope_y) / np.sqrt(1 + slope_x**2 + slope_y**2)
    rim = 1 - 0.6 * np.exp(-depth / 2.5)
    light: Plane = ((0.55 + 0.55 * facing) * rim).astype(np.float32)
    return light


def _material(label: int, u: Plane, v: Plane, rng: np.random.Generator) -> Plane:
    """The color of each pixel of an object before shading, `[H, W, 3]`."""
    radius, turn = np.hypot(u, v), np.arctan2(v, u)
    hue, tone = rng.normal(0, 1), rng.uniform(0.82, 1.12)
    if label == FRUIT:
        skin = _mix((0.93, 0.36 + 0.09 * hue, 0.10), (0.98, 0.72 + 0.04 * hue, 0.28), 1 - radius)
        pores = _dots(u * 5, v * 5, 0.2)
        stalk = _step(0.16 + 0.05 * np.cos(5 * turn) - radius, 0.03)
        color = _mix(skin, (0.25, 0.33, 0.10), stalk) * (1 - 0.3 * pores * (1 - stalk))[..., None]
    elif label == LEAF:
        blade = _mix((0.13, 0.40 + 0.05 * hue, 0.16), (0.55, 0.74, 0.20), (u + 1) / 2)
        veins = _step(np.cos(22 * (u - 0.25 * np.abs(v))) - 0.75, 0.2) * (1 - np.abs(v))
        rib = _step(0.09 - np.abs(v), 0.03)
        color = _mix(blade, (0.87, 0.90, 0.55), np.maximum(rib, 0.5 * veins))
    elif label == STAR:
        skin = _mix((0.72, 0.20, 0.42 + 0.07 * hue), (0.98, 0.62, 0.60), 1 - radius)
        warts = _dots(radius * 6, turn / (2 * np.pi) * 25, 0.26)
        color = _mix(skin, (1.0, 0.92, 0.80), np.maximum(warts, _step(0.15 - radius, 0.03)))
    else:
        glaze = _mix((0.12, 0.30, 0.62 + 0.08 * hue), (0.30, 0.72, 0.85), (np.sin(turn) + 1) / 2)
        stripes = _step(np.cos(12 * turn + 7 * radius) - 0.35, 0.25)
        color = _mix(glaze, (0.93, 0.95, 0.97), 0.8 * stripes)
    material: Plane = (color * tone).astype(np.float32)
    return material


def _mix(
    first: Plane | tuple[float, float, float],
    second: Plane | tuple[float, float, float],
    part: Plane,
) -> Plane:
    """Interpolates two colors: `first` where `part` is 0, `second` where it is 1."""
    share = part.clip(0, 1)[..., None]
    color: Plane = np.asarray(first) * (1 - share) + np.asarray(second) * share
    return color


def _step(value: Plane, softness: float) -> Plane:
    """A step function from 0 to 1 at zero with a linear transition."""
    step: Plane = (value / softness + 0.5).clip(0, 1)
    return step


def _dots(u: Plane, v: Plane, radius: float) -> Plane:
    """Round dots at the center of each unit square."""
    return _step(radius - np.hypot(u - np.floor(u) - 0.5, v - np.floor(v) - 0.5), 0.1)
