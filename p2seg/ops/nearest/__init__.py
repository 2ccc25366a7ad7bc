"""The nearest candidate of a pixel's own kind: what Eq. 1 and the decoding of S2I both ask for."""

from __future__ import annotations

import torch
from torch import Tensor

from p2seg.ops._kernels import fused


def nearest(
    positions: Tensor, keys: Tensor, candidates: Tensor, candidate_keys: Tensor
) -> tuple[Tensor, Tensor]:
    """The nearest candidate with the pixel's own key, and how clear that is.

    Args:
        positions: `[B, 2, H, W]` float32, where each pixel looks from (y, x).
        keys: `[B, H, W]` int64; 0 looks for nothing.
        candidates: `[B, K, 2]` float32.
        candidate_keys: `[B, K]` int64; 0 is never found.

    Returns:
        `[B, H, W]` int64: 0 none, k + 1 the k-th candidate, the first of equally near ones. And
        `[B, H, W]` float32: the margin `(d2 - d1) / (d2 + d1)` of the distances to the two nearest;
        1 where there is one alone, 0 where there is none.
    """
    if fused(keys):
        from p2seg.ops.nearest import triton  # not on every machine

        return triton.nearest(positions, keys, candidates, candidate_keys)
    owner = torch.zeros_like(keys)
    margin = torch.zeros_like(positions[:, 0])
    for b, own in enumerate(candidate_keys):
        looks, owners, margins = (each[b].flatten(-2) for each in (positions, owner, margin))
        for key in own.unique().tolist():
            if key > 0:
                at = (keys[b].flatten() == key).nonzero()[:, 0]
                k = (own == key).nonzero()[:, 0]
                first, clear = _nearest_of_all(looks[:, at], candidates[b, k])
                owners[at], margins[at] = k[first] + 1, clear
    return owner, margin


def _nearest_of_all(positions: Tensor, candidates: Tensor) -> tuple[Tensor, Tensor]:
    """`[M]` index and margin; a candidate at a time, so that nothing of `[M, k]` is held."""
    y, x = positions
    first = torch.zeros(len(y), dtype=torch.int64, device=y.device)
    least = torch.full_like(y, torch.inf)
    second = least
    for k, (at_y, at_x) in enumerate(candidates):
        square = (y - at_y).square_() + (x - at_x).square_()
        first.masked_fill_(square < least, k)
        second = torch.minimum(second, torch.maximum(least, square))
        least = torch.minimum(least, square)
    if len(candidates) == 1:
        return first, torch.ones_like(y)
    least, second = least.sqrt(), second.sqrt()
    return first, (second - least) / (second + least).clamp(min=1e-6)
