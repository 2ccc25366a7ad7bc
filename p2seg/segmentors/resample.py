"""Bilinear interpolation as two products of matrices: of windows, and of sizes known at run time.

Interpolation is a matrix for the rows times one for the columns. That reaches any window of the
result without the whole, takes any frame, and every exporter can write it down.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor


def interpolation(places: Tensor, cells: int | Tensor) -> Tensor:
    """The weights of a line's cells at some places of it, its ends drawn out.

    Args:
        places: `[N]` float; the center of cell k is at k.
        cells: of the line; a tensor where it is known at run time only.

    Returns:
        `[N, cells]` float: at most two neighbors in a row are not zero, and a row sums to 1.
    """
    index = _cells(cells, places)
    inside = places.clamp(min=0).minimum(index[-1:])
    return (1 - (inside[:, None] - index).abs()).clamp(min=0)


def shrinking(cells: int | Tensor, size: int | Tensor, like: Tensor) -> Tensor:
    """The weights that resize a line as `interpolate(antialias=True)` does.

    Args:
        cells: of the line.
        size: cells that it becomes.
        like: of the type and device of the weights.

    Returns:
        `[size, cells]` float.
    """
    index, made = _cells(cells, like) + 0.5, _cells(size, like) + 0.5
    ratio = torch.as_tensor(cells / size).to(like)
    reach = ratio.clamp(min=1)
    weights = (1 - ((index - (made * ratio)[:, None]) / reach).abs()).clamp(min=0)
    return weights / weights.sum(1, keepdim=True)


def resample(maps: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Maps `[..., h, w]` resampled by `rows` `[H, h]` and `columns` `[W, w]` to `[..., H, W]`."""
    return torch.matmul(torch.matmul(rows, maps), columns.T)


def _cells(count: int | Tensor, like: Tensor) -> Tensor:
    return torch.arange(cast(int, count), device=like.device, dtype=like.dtype)
