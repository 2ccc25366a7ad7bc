"""The nearest candidate of a pixel's own kind: what Eq. 1 and the decoding of S2I both ask for."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from p2seg.ops._kernels import fused

Floats = np.ndarray[Any, np.dtype[np.float32]]
Integers = np.ndarray[Any, np.dtype[Any]]


def nearest(
    positions: Tensor, keys: Tensor, candidates: Tensor, candidate_keys: Tensor
) -> tuple[Tensor, Tensor]:
    """The nearest candidate with the pixel's own key, and how clear that is.

    Args:
        positions: `[B, 2, H, W]` float32, where each pixel looks from (y, x).
        keys: `[B, H, W]` int32; 0 looks for nothing.
        candidates: `[B, K, 2]` float32.
        candidate_keys: `[B, K]` int64; 0 is never found.

    Returns:
        `[B, H, W]` int32: 0 none, k + 1 the k-th candidate, the first of equally near ones. And
        `[B, H, W]` float32: the margin `(d2 - d1) / (d2 + d1)` of the distances to the two nearest;
        1 where there is one alone, 0 where there is none.
    """
    if fused(keys):
        from p2seg.ops.nearest import triton  # not on every machine

        return triton.nearest(positions, keys, candidates, candidate_keys)
    made = [
        _of_one(*(each.numpy() for each in image))
        for image in zip(
            positions.flatten(2).cpu(),
            keys.flatten(1).int().cpu(),
            candidates.cpu(),
            candidate_keys.int().cpu(),
            strict=True,
        )
    ]
    owner, margin = (torch.from_numpy(np.stack(each)) for each in zip(*made, strict=True))
    return owner.view_as(keys).to(keys.device), margin.view_as(keys).to(keys.device)


def _of_one(
    positions: Floats, keys: Integers, candidates: Floats, candidate_keys: Integers
) -> tuple[Integers, Floats]:
    """One image: its looking pixels sorted by key, then a candidate of the key at a time."""
    owner = np.zeros(len(keys), np.int32)
    margin = np.zeros(len(keys), np.float32)
    at = np.flatnonzero(keys)
    kinds = keys[at]
    wanted = np.unique(candidate_keys[candidate_keys > 0])
    if len(wanted) != 1 or (kinds != wanted[0]).any():
        small = kinds.astype(np.uint16) if kinds.max(initial=0) < 1 << 16 else kinds
        order = np.argsort(small, kind="stable")  # a radix sort, of 16 bits
        at, kinds = at[order], kinds[order]
    y, x = positions[0, at], positions[1, at]
    owners = np.zeros(len(at), np.int32)
    margins = np.zeros(len(at), np.float32)
    for key in wanted:
        own = slice(*np.searchsorted(kinds, (key, key + 1)))
        k = np.flatnonzero(candidate_keys == key)
        first, margins[own] = _nearest_of_all(y[own], x[own], candidates[k])
        owners[own] = (k + 1).astype(np.int32)[first]
    owner[at], margin[at] = owners, margins
    return owner, margin


def _nearest_of_all(y: Floats, x: Floats, candidates: Floats) -> tuple[Integers, Floats | float]:
    """`[M]` index and margin; a candidate at a time, so that nothing of `[M, k]` is held."""
    first = np.zeros(len(y), np.intp)
    if len(candidates) == 1:
        return first, 1.0
    least = np.full(len(y), np.inf, np.float32)
    second = least.copy()
    for k, (at_y, at_x) in enumerate(candidates):
        square = (y - at_y) ** 2 + (x - at_x) ** 2
        np.putmask(first, square < least, k)
        np.minimum(second, np.maximum(least, square), out=second)
        np.minimum(least, square, out=least)
    least, second = np.sqrt(least), np.sqrt(second)
    return first, (second - least) / np.maximum(second + least, 1e-6)
