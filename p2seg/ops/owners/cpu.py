"""Nearest candidates on the CPU: a loop over the candidates of each pixel's key."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from p2seg.ops._kernels import compiled

Array = np.ndarray[Any, np.dtype[Any]]


def owners(
    regions: Tensor,
    sole: Tensor,
    start: Tensor,
    stop: Tensor,
    yx: Tensor,
    order: Tensor,
    offset: Tensor | None,
    origin: float,
) -> Tensor:
    """See `p2seg.ops.owners.owners`; the candidates are sorted by key.

    Args:
        regions: `[B, H, W]` int32.
        sole: `[B, R]` int64.
        start: `[B, R]` int64, index of the first candidate of each region.
        stop: `[B, R]` int64, index after the last candidate of each region.
        yx: `[B, K, 2]` float32, sorted candidates.
        order: `[B, K]` int64, k + 1 of each sorted candidate.
        offset: `[B, 2, H, W]` float32 or None.
        origin: coordinate of the center of the first pixel.
    """
    owner = torch.empty(regions.shape, dtype=torch.int64)
    if offset is None:
        offset = yx.new_empty(len(yx), 2, 0, 0)
    given = regions, sole, start, stop, yx, order, offset
    images = [each.detach().cpu().numpy() for each in given]
    for image in zip(*images, owner.numpy(), strict=True):
        _owners(np.float32(origin), *image)
    return owner.to(regions.device)


@compiled
def _owners(
    origin: np.float32,
    regions: Array,
    sole: Array,
    start: Array,
    stop: Array,
    yx: Array,
    order: Array,
    offset: Array,
    owner: Array,
) -> None:
    height, width = regions.shape
    moved = offset.size > 0
    for y in range(height):
        for x in range(width):
            region = regions[y, x]
            first, last = start[region], stop[region]
            if sole[region] > 0 or first == last:
                owner[y, x] = sole[region]
            elif last - first == 1:
                owner[y, x] = order[first]
            else:
                from_y, from_x = np.float32(y) + origin, np.float32(x) + origin
                if moved:
                    from_y = np.float32(y) + (offset[0, y, x] + origin)
                    from_x = np.float32(x) + (offset[1, y, x] + origin)
                best = first
                least = np.float32(np.inf)
                for k in range(first, last):
                    dy, dx = from_y - yx[k, 0], from_x - yx[k, 1]
                    square = dy * dy + dx * dx
                    if square < least:
                        least, best = square, k
                owner[y, x] = order[best]
