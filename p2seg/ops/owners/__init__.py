"""Assigns pixels to points by Euclidean distance, for Eq. 1 and for the decoding of S2I.

A region belongs to one candidate as a whole, or each of its pixels is assigned to the nearest
candidate with the region's key.
"""

from __future__ import annotations

import torch
from torch import Tensor

from p2seg.ops._kernels import fused


def owners(
    regions: Tensor,
    sole: Tensor,
    keys: Tensor,
    candidates: Tensor,
    candidate_keys: Tensor,
    offset: Tensor | None = None,
    origin: float = 0.0,
) -> Tensor:
    """The nearest candidate of each pixel.

    Args:
        regions: `[B, H, W]` int32, region of each pixel, 0..R-1.
        sole: `[B, R]` int64, k + 1 if candidate k owns the whole region, else 0.
        keys: `[B, R]` int64, key of the candidates of each region without sole owner; 0: none.
        candidates: `[B, K, 2]` float32 (y, x) in pixels.
        candidate_keys: `[B, K]` int64, key of each candidate; 0: never assigned.
        offset: `[B, 2, H, W]` float32 (dy, dx), added to the position of each pixel; None: 0.
        origin: coordinate of the center of the first pixel in the candidates' coordinates.

    Returns:
        Owners `[B, H, W]` int64, k + 1 for candidate k (the first of equally near ones), 0 for
        none.
    """
    # sort candidates by key, and find the range of each region's candidates
    ordered, order = candidate_keys.sort(dim=1, stable=True)
    yx = candidates.float().gather(1, order[:, :, None].expand(-1, -1, 2)).contiguous()
    start = torch.searchsorted(ordered, keys.contiguous())
    stop = torch.searchsorted(ordered, keys.contiguous(), right=True).where(keys > 0, start)
    tables = sole.contiguous(), start, stop, yx, order + 1
    if offset is not None:
        offset = offset.float().contiguous()
    if fused(regions):
        from p2seg.ops.owners import triton  # Triton is not installed on every machine

        return triton.owners(regions.contiguous(), *tables, offset, origin)
    from p2seg.ops.owners import cpu  # importing Numba takes time

    return cpu.owners(regions.contiguous(), *tables, offset, origin)
