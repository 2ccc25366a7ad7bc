"""Conversion between input pixels and the stride-4 grid of the network's outputs."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from p2seg.structures import STRIDE


def on_grid(labels: Tensor) -> Tensor:
    """Samples labels `[B, H, W]` at the cell centers of the grid: `[B, ceil(H/4), ceil(W/4)]`."""
    height, width = labels.shape[-2:]
    y = (torch.arange(0, height, STRIDE, device=labels.device) + STRIDE // 2).clamp(max=height - 1)
    x = (torch.arange(0, width, STRIDE, device=labels.device) + STRIDE // 2).clamp(max=width - 1)
    return labels[..., y[:, None], x[None, :]]


def upsample(grid: Tensor, size: tuple[int, ...]) -> Tensor:
    """Upsamples `[B, n, h, w]` from the stride-4 grid bilinearly to `[B, n, H, W]` float32.

    The parts of the last cells outside an image whose sides are no multiples of 4 are cut off.
    """
    full = (grid.shape[-2] * STRIDE, grid.shape[-1] * STRIDE)
    large = F.interpolate(grid.float(), full, mode="bilinear", align_corners=False)
    return large[..., : size[0], : size[1]]
