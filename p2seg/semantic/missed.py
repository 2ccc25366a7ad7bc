"""Regions of clicks that a global threshold misses.

A threshold of the whole image misses a faint object next to bright ones. The click shows where the
object is, so the object gets its own threshold between its surroundings and the value at the click.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

Mask = NDArray[np.bool_]

FAINT = 0.03
"""A click that differs less from its surroundings gets no region. In standard deviations of the
channel."""

REACH = 0.45
"""Largest distance of a region's pixel from its click, in short sides of the image."""

GROUND = 0.25
"""Quantile of the pixels of a cell that is the background value, counted from the side farther
from the click's value. The object can fill three quarters of the cell."""

BLUR = 1.0
"""Standard deviation in pixels of the Gaussian that the channel is smoothed by."""


def voronoi(
    shape: tuple[int, int], yx: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The nearest click of every pixel, and its distance in pixels, both `[H, W]`.

    Args:
        shape: (H, W).
        yx: `[K, 2]` int64, the clicked pixels, K at least 1.
    """
    pixels = np.indices(shape).reshape(2, -1).T
    distance, nearest = cKDTree(yx).query(pixels)
    return np.reshape(nearest, shape), np.reshape(distance, shape)


def regions_of_missed(
    channel: NDArray[Any], inside: Mask, yx: NDArray[np.int64], missed: Mask, level: float
) -> NDArray[np.int64]:
    """The connected region around each missed click whose values are near the click's.

    A region stays in the Voronoi cell of its click, at most `REACH` away.

    Args:
        channel: `[H, W]` float32, the channel that was thresholded.
        inside: `[H, W]`, the foreground that the threshold found.
        yx: `[K, 2]` int64, all clicked pixels of the image.
        missed: `[K]`, the clicks that get a region.
        level: threshold of a region, from 0 (background value in the cell) to 1 (smoothed value at
            the click).

    Returns:
        `[H, W]`: k + 1 in the region of click k, else 0. The region of a click that differs too
        little from its surroundings is the clicked pixel.
    """
    regions = np.zeros(channel.shape, np.int64)
    if not missed.any():
        return regions
    height, width = channel.shape
    nearest, distance = voronoi((height, width), yx)
    near = distance <= REACH * min(height, width)
    smooth, minimum = cv2.GaussianBlur(channel, (0, 0), BLUR), FAINT * float(channel.std())
    for k in np.flatnonzero(missed)[::-1]:  # of several clicks on one pixel the first wins
        click = tuple(yx[k])
        cell = near & (nearest == nearest[click])
        value = float(smooth[click])
        ground = _ground(channel[cell & ~inside], value)
        if abs(value - ground) >= minimum:
            threshold = ground + level * (value - ground)
            similar = cell & (smooth > threshold if value > ground else smooth < threshold)
            parts = np.asarray(cv2.connectedComponents(similar.astype(np.uint8))[1])
            regions[similar & (parts == parts[click])] = k + 1
    for k in np.flatnonzero(missed)[::-1]:
        regions[tuple(yx[k])] = k + 1
    return regions


def _ground(outside: NDArray[Any], value: float) -> float:
    """The value of the background around an object whose own value is `value`."""
    if not outside.size:
        return 0.0
    low, high = np.quantile(outside, [GROUND, 1 - GROUND])
    return float(low if value - low > high - value else high)
