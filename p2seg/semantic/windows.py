"""Windows of an image: their pixel coordinates and distances."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Int = NDArray[np.int64]
Float = NDArray[np.float64]
Mask = NDArray[np.bool_]
Window = tuple[slice, slice]


def relative_to(window: Window, yx: Int) -> Int:
    """Pixels `[..., 2]` of the image relative to the window's corner."""
    relative: Int = yx - np.array([side.start for side in window])
    return relative


def window_around(center: Int, radius: float, shape: tuple[int, ...]) -> Window:
    """The square of `radius` around a pixel, clipped to the image."""
    low = np.maximum(center - round(radius), 0)
    high = np.minimum(center + round(radius) + 1, shape[:2])
    return slice(int(low[0]), int(high[0])), slice(int(low[1]), int(high[1]))


def pixel_centers(shape: tuple[int, ...], grid: tuple[int, ...]) -> tuple[Float, Float]:
    """The centers `[h, 1]` and `[1, w]` of a `grid` over an image of `shape`, in pixels."""
    y, x = ((np.arange(n) + 0.5) * size / n - 0.5 for size, n in zip(shape[:2], grid, strict=False))
    return y[:, None], x[None, :]


def distance_to(pixels: tuple[Float, Float], point: Int) -> Float:
    """Distance of every pixel to a point, `[h, w]`."""
    distance: Float = np.hypot(pixels[0] - point[0], pixels[1] - point[1])
    return distance


def enlarged(window: Window, mask: Mask, side: Float) -> tuple[Window, Mask]:
    """Converts a window of the shrunk image and its mask to pixels of the image.

    `side` is (height, width) of a pixel of the shrunk image.
    """
    y, x = (
        slice(round(part.start * one), round(part.stop * one))
        for part, one in zip(window, side.tolist(), strict=True)
    )
    shape = x.stop - x.start, y.stop - y.start
    return (y, x), np.asarray(cv2.resize(mask.astype(np.float32), shape)) >= 0.5
