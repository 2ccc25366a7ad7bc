"""Which candidate owns each pixel: what Eq. 1 and the decoding of S2I both ask for.

A region belongs to one candidate as a whole, or its pixels go to the nearest candidate of a key.
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
    """The owner of every pixel.

    Args:
        regions: `[B, H, W]` int32, the pixel's region, 0..R-1.
        sole: `[B, R]` int64: k + 1 where the k-th candidate owns a region as a whole, else 0.
        keys: `[B, R]` int64: among which candidates the pixels of other regions choose; 0 none.
        candidates: `[B, K, 2]` float32 (y, x).
        candidate_keys: `[B, K]` int64; 0 is never chosen.
        offset: `[B, 2, H, W]` float32: a pixel looks from where it points to; None: from itself.
        origin: where the middle of the first pixel lies in the candidates' coordinates.

    Returns:
        `[B, H, W]` int64: 0 none, k + 1 the k-th candidate, the first of equally near ones.
    """
    # the candidates of a key side by side, in their order, and where those of each region lie
    ordered, order = candidate_keys.sort(dim=1, stable=True)
    yx = candidates.float().gather(1, order[:, :, None].expand(-1, -1, 2)).contiguous()
    start = torch.searchsorted(ordered, keys.contiguous())
    stop = torch.searchsorted(ordered, keys.contiguous(), right=True).where(keys > 0, start)
    tables = sole.contiguous(), start, stop, yx, order + 1
    if offset is not None:
        offset = offset.float().contiguous()
    if fused(regions):
        from p2seg.ops.owners import triton  # not on every machine

        return triton.owners(regions.contiguous(), *tables, offset, origin)
    from p2seg.ops.owners import cpu  # loads the compiler

    return cpu.owners(regions.contiguous(), *tables, offset, origin)
