"""Resampling of the masks of boxes to the pixels of their image."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from p2seg.segmentors.detection import SoftMask
from p2seg.segmentors.resample import interpolation, resample


def paste(mask: Tensor, box: Tensor, frame: Tensor, height: int, width: int) -> SoftMask:
    """Resamples a mask at the centers of the image's pixels.

    torchvision rounds the box to integers and enlarges it by one pixel, which costs objects of 30
    pixels several hundredths of IoU.

    Args:
        mask: `[M, M]` float in 0..1.
        box: `[4]` x0, y0, x1, y1 in pixels; pixels with their center outside the box are 0.
        frame: `[4]`, the box that the M x M cells of `mask` divide evenly.
        height: height of the image in pixels.
        width: width of the image in pixels.

    Returns:
        The mask in the box; an empty window if the box is outside the image.
    """
    x0, y0, x1, y1 = box.tolist()
    fx0, fy0, fx1, fy1 = frame.tolist()
    cells = mask.shape[-1]
    rows, columns = _inside(y0, y1, height), _inside(x0, x1, width)
    values = resample(
        mask,
        interpolation((rows + 0.5 - fy0) / (fy1 - fy0) * cells - 0.5, cells),
        interpolation((columns + 0.5 - fx0) / (fx1 - fx0) * cells - 0.5, cells),
    )
    top, left = (int(each[0]) if len(each) else 0 for each in (rows, columns))
    return SoftMask(top, left, values)


def _inside(start: float, end: float, length: int) -> Tensor:
    """The indices (float32) of pixels along one axis with their center in `start` to `end`."""
    first, last = max(0, math.ceil(start - 0.5)), min(length - 1, math.floor(end - 0.5))
    return torch.arange(first, max(first, last + 1), dtype=torch.float32)
