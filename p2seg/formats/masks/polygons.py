"""Outlines of masks that lose nothing: they run along the pixels' edges.

A polygon through pixel centers, as OpenCV gives it, is half a pixel too small on each side. Ours
fill exactly the mask's pixels: a pixel's center lies inside where the pixel belongs to the mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Ring = NDArray[np.int64]
"""`[N, 2]` corners (x, y) of pixels along a closed outline, the first not repeated; N >= 4."""


@dataclass(frozen=True)
class Part:
    """A connected part of a mask; pixels that share a corner are connected.

    Attributes:
        outline: around it; where pixels share but a corner it touches itself.
        holes: around each of its holes.
    """

    outline: Ring
    holes: list[Ring]


def parts_of(mask: NDArray[np.bool_]) -> list[Part]:
    """The parts of a mask, the largest outline's area first.

    Args:
        mask: `[H, W]` bool.

    Returns:
        The parts; none of an empty mask. A part inside another's hole is a part of its own.
    """
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return []
    top, left = int(rows[0]), int(columns[0])
    window = mask[top : rows[-1] + 1, left : columns[-1] + 1].astype(np.uint8)
    # of a mask twice as large a contour's points tell on which side of their pixel they lie
    large = window.repeat(2, 0).repeat(2, 1)
    contours, tree = cv2.findContours(large, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    rings = [_along_edges(contour[:, 0]) + np.array([left, top]) for contour in contours]
    parents = tree[0, :, 3]
    parts = [
        Part(ring, [rings[k] for k in np.flatnonzero(parents == index)])
        for index, ring in enumerate(rings)
        if parents[index] < 0
    ]
    return sorted(parts, key=lambda part: -area(part.outline))


def area(ring: Ring) -> float:
    """Pixels that a ring encloses."""
    x, y = ring.T
    return abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))) / 2


def joined(rings: Sequence[Ring]) -> Ring:
    """One polygon of several rings: a way from ring to ring, there and back, encloses nothing.

    Args:
        rings: one or more that do not enclose each other.
    """
    from scipy.spatial import cKDTree

    polygon, *others = rings
    for ring in others:
        distances, nearest = map(np.asarray, cKDTree(polygon).query(ring))
        start = int(np.argmin(distances))
        leave = int(nearest[start])
        around = np.roll(ring, -start, axis=0)
        polygon = np.concatenate([polygon[: leave + 1], around, around[:1], polygon[leave:]])
    return polygon


def _along_edges(contour: NDArray[Any]) -> Ring:
    """A contour of the twice enlarged mask as corners of pixels of the mask."""
    ring: Ring = ((contour + 1) // 2).astype(np.int64)
    ring = ring[(ring != np.roll(ring, 1, axis=0)).any(1)]  # at concave corners two points meet
    came = np.sign(ring - np.roll(ring, 1, axis=0))
    goes = np.roll(came, -1, axis=0)
    turns: Ring = ring[(came != goes).any(1)]
    return turns
