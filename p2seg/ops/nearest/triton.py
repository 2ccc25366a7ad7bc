"""The nearest candidate of a pixel's own kind in Triton: a pixel goes over the candidates of its
key alone, which lie side by side."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 256
"""Pixels of a program."""


def nearest(
    positions: Tensor, keys: Tensor, candidates: Tensor, candidate_keys: Tensor
) -> tuple[Tensor, Tensor]:
    """As `p2seg.ops.nearest.nearest`."""
    images, _, height, width = positions.shape
    pixels, count = height * width, candidate_keys.shape[1]
    ordered, order = candidate_keys.sort(dim=1, stable=True)
    yx = candidates.float().gather(1, order[:, :, None].expand(-1, -1, 2)).contiguous()
    # a key that no candidate has starts at the end of its own, empty, stretch
    keys = keys.to(ordered.dtype)
    start = torch.searchsorted(ordered, keys.flatten(1).contiguous(), out_int32=True)
    owner = torch.empty(keys.shape, dtype=torch.int32, device=keys.device)
    margin = torch.empty(keys.shape, dtype=torch.float32, device=keys.device)
    _nearest[(triton.cdiv(pixels, BLOCK), images)](
        positions.float().contiguous(),
        keys.contiguous(),
        yx,
        ordered.contiguous(),
        order.contiguous(),
        start,
        owner,
        margin,
        pixels,
        count,
        BLOCK=BLOCK,
    )
    return owner, margin


@triton.jit
def _nearest(
    positions,
    keys,
    yx,
    ordered,
    order,
    start,
    owner,
    margin,
    pixels,
    count,
    BLOCK: tl.constexpr,
):
    image = tl.program_id(1).to(tl.int64)
    p = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = p < pixels
    key = tl.load(keys + image * pixels + p, mask=inside, other=0)
    k = tl.load(start + image * pixels + p, mask=inside, other=0)
    y = tl.load(positions + image * 2 * pixels + p, mask=inside, other=0.0)
    x = tl.load(positions + (image * 2 + 1) * pixels + p, mask=inside, other=0.0)
    infinite = 3e38  # not inf: nothing is subtracted from itself
    least = tl.full((BLOCK,), infinite, tl.float32)
    second = tl.full((BLOCK,), infinite, tl.float32)
    best = tl.zeros((BLOCK,), tl.int32)
    active = inside & (key > 0) & (k < count)
    active = active & (tl.load(ordered + image * count + k, mask=active, other=0) == key)
    found = active
    while tl.max(active.to(tl.int32), 0) > 0:
        at = yx + (image * count + k) * 2
        dy = y - tl.load(at, mask=active, other=0.0)
        dx = x - tl.load(at + 1, mask=active, other=0.0)
        square = tl.where(active, dy * dy + dx * dx, infinite)
        best = tl.where(square < least, k, best)
        second = tl.minimum(second, tl.maximum(least, square))
        least = tl.minimum(least, square)
        k += 1
        active = active & (k < count)
        active = active & (tl.load(ordered + image * count + k, mask=active, other=0) == key)
    owned = tl.load(order + image * count + best, mask=found, other=-1) + 1
    tl.store(owner + image * pixels + p, tl.where(found, owned, 0).to(tl.int32), mask=inside)
    d1 = tl.sqrt(least)
    d2 = tl.sqrt(second)
    clear = tl.where(second < infinite, (d2 - d1) / tl.maximum(d2 + d1, 1e-6), 1.0)
    tl.store(margin + image * pixels + p, tl.where(found, clear, 0.0), mask=inside)
