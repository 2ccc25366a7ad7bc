"""Bilinear interpolation as two matrix products, one for rows and one for columns.

It supports any window of the result and sizes known only at run time, in every exporter.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor


def interpolation(places: Tensor, cells: int | Tensor) -> Tensor:
    """The matrix of linear interpolation along one axis, with constant extrapolation.

    Args:
        places: `[N]` float, positions; the center of cell k is at k.
        cells: number of cells; a tensor if known only at run time.

    Returns:
        `[N, cells]` float; each row sums to 1 and has at most two nonzero neighbors.
    """
    index = _cells(cells, places)
    inside = places.clamp(min=0).minimum(index[-1:])
    return (1 - (inside[:, None] - index).abs()).clamp(min=0)


def shrinking(cells: int | Tensor, size: int | Tensor, like: Tensor) -> Tensor:
    """The matrix that resizes one axis like `interpolate(antialias=True)`.

    Args:
        cells: number of cells before.
        size: number of cells after.
        like: a tensor with the dtype and device of the result.

    Returns:
        `[size, cells]` float.
    """
    index, target = _cells(cells, like) + 0.5, _cells(size, like) + 0.5
    ratio = torch.as_tensor(cells / size).to(like)
    reach = ratio.clamp(min=1)
    weights = (1 - ((index - (target * ratio)[:, None]) / reach).abs()).clamp(min=0)
    return weights / weights.sum(1, keepdim=True)


def resample(maps: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Maps `[..., h, w]` resampled by `rows` `[H, h]` and `columns` `[W, w]` to `[..., H, W]`."""
    return torch.matmul(torch.matmul(rows, maps), columns.T)


def _cells(count: int | Tensor, like: Tensor) -> Tensor:
    return torch.arange(cast(int, count), device=like.device, dtype=like.dtype)
