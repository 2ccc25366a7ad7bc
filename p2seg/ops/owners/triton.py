"""Nearest candidates in Triton: each pixel loops over the contiguous candidates of its key."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 256
"""Pixels per program."""


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
    """See `p2seg.ops.owners.cpu.owners`."""
    images, height, width = regions.shape
    pixels = height * width
    owner = torch.empty(regions.shape, dtype=torch.int64, device=regions.device)
    _owners[(triton.cdiv(pixels, BLOCK), images)](
        regions,
        sole,
        start,
        stop,
        yx,
        order,
        yx if offset is None else offset,
        origin,
        owner,
        pixels,
        width,
        sole.shape[1],
        order.shape[1],
        MOVED=offset is not None,
        BLOCK=BLOCK,
    )
    return owner


@triton.jit
def _owners(
    regions,
    sole,
    start,
    stop,
    yx,
    order,
    offset,
    origin,
    owner,
    pixels,
    width,
    count,
    candidates,
    MOVED: tl.constexpr,
    BLOCK: tl.constexpr,
):
    image = tl.program_id(1).to(tl.int64)
    p = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = p < pixels
    region = tl.load(regions + image * pixels + p, mask=inside, other=0)
    alone = tl.load(sole + image * count + region)
    k = tl.load(start + image * count + region)
    last = tl.load(stop + image * count + region)
    y = (p // width).to(tl.float32) + origin
    x = (p % width).to(tl.float32) + origin
    if MOVED:
        y += tl.load(offset + image * 2 * pixels + p, mask=inside, other=0.0)
        x += tl.load(offset + (image * 2 + 1) * pixels + p, mask=inside, other=0.0)
    infinite = float("inf")
    least = tl.full((BLOCK,), infinite, tl.float32)
    best = k
    chooses = inside & (alone == 0) & (k < last)
    active = chooses
    while tl.max(active.to(tl.int32), 0) > 0:
        at = yx + (image * candidates + k) * 2
        dy = y - tl.load(at, mask=active, other=0.0)
        dx = x - tl.load(at + 1, mask=active, other=0.0)
        square = tl.where(active, dy * dy + dx * dx, infinite)
        best = tl.where(square < least, k, best)
        least = tl.minimum(least, square)
        k += 1
        active = active & (k < last)
    owned = tl.load(order + image * candidates + best, mask=chooses, other=0)
    tl.store(owner + image * pixels + p, tl.where(chooses, owned, alone), mask=inside)
