"""The color contrast along the border of a mask: high where a mask follows an object's boundary."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


def border_contrast(colors: NDArray[np.float32], mask: NDArray[np.bool_], side: int) -> float:
    """Lower quartile, along the border, of the distance between the mean colors on both sides.

    Args:
        colors: `[H, W, 3]` float32.
        mask: `[H, W]` bool.
        side: side in pixels of the square in which the colors are averaged, at least 3.

    Returns:
        The contrast in units of `colors`; 0 if the mask has no border.
    """
    inside, square = mask.astype(np.float32), np.ones((3, 3))
    border = cv2.dilate(inside, square) > cv2.erode(inside, square)
    if not border.any():
        return 0.0
    share = cv2.blur(inside, (side, side))[border][:, None]
    own = cv2.blur(colors * inside[..., None], (side, side))[border]
    other = cv2.blur(colors, (side, side))[border] - own
    difference = own / share - other / (1 - share)
    return float(np.quantile(np.linalg.norm(difference, axis=1), 0.25))
