"""Connected components in Triton by parallel union-find.

Each pixel is joined with its preceding neighbors by atomic operations, and then looks up its root.
Nothing synchronizes with the host.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.nn import functional as F

BLOCK = 256
"""Pixels per program."""


def connected_components(labels: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """See `p2seg.ops.components.connected_components`; a number is 1 + index of the first pixel."""
    images, height, width = labels.shape
    pixels = height * width
    kinds = labels * wanted.gather(1, labels.flatten(1)).view_as(labels)
    labels = kinds.int()
    parent = torch.arange(pixels, dtype=torch.int32, device=labels.device).repeat(images, 1)
    blocks = (triton.cdiv(pixels, BLOCK), images)
    _merge[blocks](labels, parent, height, width, BLOCK=BLOCK)
    numbers = torch.empty_like(labels)
    _look_up[blocks](labels, parent, numbers, pixels, BLOCK=BLOCK)
    return numbers, F.pad(kinds.flatten(1), (1, 0))


@triton.jit
def _merge(labels, parent, height, width, BLOCK: tl.constexpr):
    pixels = height * width
    at = tl.program_id(1).to(tl.int64) * pixels
    labels += at
    parent += at
    p = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    y = p // width
    x = p % width
    own = tl.load(labels + p, mask=p < pixels, other=0)
    for neighbor in tl.static_range(4):  # left, above left, above, above right
        dy = 0 if neighbor == 0 else 1
        dx = -1 if neighbor == 0 else neighbor - 2
        there = (own > 0) & (y >= dy) & (x + dx >= 0) & (x + dx < width)
        q = p - dy * width + dx
        theirs = tl.load(labels + q, mask=there, other=0)
        _join(parent, p, q, there & (theirs == own))


@triton.jit
def _join(parent, a, b, active):
    """Joins the trees of a and b.

    Both climb to their roots, and the higher root becomes a child of the lower one. If another
    program has changed the higher root meanwhile, its new parent is joined instead.
    """
    while tl.max(active.to(tl.int32), 0) > 0:
        above_a = tl.load(parent + a, mask=active, other=0, volatile=True)
        above_b = tl.load(parent + b, mask=active, other=0, volatile=True)
        roots = active & (above_a == a) & (above_b == b)
        high = tl.maximum(a, b)
        low = tl.minimum(a, b)
        hang = roots & (a != b)
        before = tl.atomic_min(parent + high, low, mask=hang)
        active = active & ~(roots & (a == b)) & ~(hang & (before == high))
        a = tl.where(hang, before, tl.where(roots, a, above_a))
        b = tl.where(hang, low, tl.where(roots, b, above_b))


@triton.jit
def _look_up(labels, parent, numbers, pixels, BLOCK: tl.constexpr):
    at = tl.program_id(1).to(tl.int64) * pixels
    p = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = p < pixels
    own = tl.load(labels + at + p, mask=inside, other=0)
    root = p
    above = tl.load(parent + at + root, mask=own > 0, other=0)
    climbing = (own > 0) & (above != root)
    while tl.max(climbing.to(tl.int32), 0) > 0:
        root = tl.where(climbing, above, root)
        above = tl.load(parent + at + root, mask=climbing, other=0)
        climbing = climbing & (above != root)
    tl.store(numbers + at + p, tl.where(own > 0, root + 1, 0), mask=inside)
