"""Lossless outlines of masks along pixel edges.

A polygon through pixel centers, as OpenCV returns it, is half a pixel too small on each side. A
polygon along pixel edges contains exactly the centers of the mask's pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Ring = NDArray[np.int64]
"""`[N, 2]` pixel corners (x, y) of a closed outline without repeating the first; N >= 4."""


@dataclass(frozen=True)
class Part:
    """An 8-connected component of a mask.

    Attributes:
        outline: outer boundary. It touches itself where pixels share only a corner.
        holes: boundary of each hole.
    """

    outline: Ring
    holes: list[Ring]


def parts_of(mask: NDArray[np.bool_]) -> list[Part]:
    """The components of a mask, by the area of their outlines, largest first.

    Args:
        mask: `[H, W]` bool.

    Returns:
        One part per component, including components inside a hole. Empty for an empty mask.
    """
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return []
    top, left = int(rows[0]), int(columns[0])
    window = mask[top : rows[-1] + 1, left : columns[-1] + 1].astype(np.uint8)
    # In a mask of twice the size, contour points show on which side of their pixel they lie.
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
    """The area inside a ring, in pixels."""
    x, y = ring.T
    return abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))) / 2


def joined(rings: Sequence[Ring]) -> Ring:
    """Joins rings to one polygon by bridges of zero area between nearest corners.

    Args:
        rings: one or more rings that do not enclose each other.
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
    """Converts a contour of the doubled mask to pixel corners of the mask."""
    ring: Ring = ((contour + 1) // 2).astype(np.int64)
    ring = ring[(ring != np.roll(ring, 1, axis=0)).any(1)]  # concave corners appear twice
    incoming = np.sign(ring - np.roll(ring, 1, axis=0))
    corners: Ring = ring[(incoming != np.roll(incoming, -1, axis=0)).any(1)]
    return corners
