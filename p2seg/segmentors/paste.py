"""Soft masks of boxes, brought back to the pixels of their image."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F


def paste(mask: Tensor, box: Tensor, frame: Tensor, height: int, width: int) -> NDArray[np.bool_]:
    """The pixels of an image that a soft mask covers.

    torchvision's own pasting rounds the box to whole pixels and widens it by one, which costs
    objects of 30 pixels several hundredths of IoU; here each pixel's centre is looked up.

    Args:
        mask: `[M, M]` float in 0..1.
        box: `[4]` x0, y0, x1, y1 in pixels, edge to edge; the mask reaches no pixel whose centre
            lies outside.
        frame: `[4]`, the box that the cells of `mask` divide evenly.
        height: of the image, pixels.
        width: of the image, pixels.

    Returns:
        `[height, width]` bool: where the mask is at least 0.5.
    """
    whole = np.zeros((height, width), dtype=bool)
    x0, y0, x1, y1 = box.tolist()
    columns, xs = _inside(x0, x1, width)
    rows, ys = _inside(y0, y1, height)
    if len(xs) and len(ys):
        fx0, fy0, fx1, fy1 = frame.tolist()
        x = 2 * (xs + 0.5 - fx0) / (fx1 - fx0) - 1
        y = 2 * (ys + 0.5 - fy0) / (fy1 - fy0) - 1
        grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)
        values = F.grid_sample(
            mask[None, None], grid[None], padding_mode="border", align_corners=False
        )
        whole[rows, columns] = (values[0, 0] >= 0.5).numpy()
    return whole


def _inside(start: float, end: float, length: int) -> tuple[slice, Tensor]:
    """The pixels of a line of `length` whose centres lie in `start` to `end`."""
    first, last = max(0, math.ceil(start - 0.5)), min(length - 1, math.floor(end - 0.5))
    return slice(first, last + 1), torch.arange(first, max(first, last + 1), dtype=torch.float32)
