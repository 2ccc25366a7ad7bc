"""Which point owns each pixel by ellipses: a mixture of Gaussians, one for each point of a region.

Expectation maximization finds the ellipses that cover a region best, so that it matters little
where on its object a click is.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

Array = np.ndarray[Any, np.dtype[Any]]

STEPS = 10
SHARED = 0.2
"""Share of the region's mean covariance in that of each ellipse: objects side by side are alike."""
BLUR = 0.25
"""Squared pixels that are added to every covariance."""
SAMPLE = 20_000
"""Pixels of a region that the ellipses are fitted to; a larger one is sampled evenly."""


def mixture_owners(
    regions: Tensor, asked: Tensor, region_of: Tensor, pixels: Tensor, owner: Tensor
) -> Tensor:
    """The owner of every pixel of some regions by ellipses.

    On the CPU; tensors on a GPU go there and back.

    Args:
        regions: `[B, H, W]` int32, the pixel's region, 0..R-1.
        asked: `[B, R]` bool, the regions that are asked about.
        region_of: `[B, K]` int64, the region that each point owns a part of; 0 none.
        pixels: `[B, K, 2]` int64 (y, x), the pixel of each point.
        owner: `[B, H, W]` int64, where to start: k + 1 the k-th point. In a region that is asked
            about they are points of that region.

    Returns:
        `[B, H, W]` int64, owners, 0 elsewhere.
    """
    numbers, start, of = (each.cpu().numpy() for each in (regions, owner, region_of))
    clicks = pixels.cpu().numpy()
    found = np.zeros_like(start)
    for image, region in asked.nonzero().tolist():
        here = np.nonzero(numbers[image] == region)
        own = np.flatnonzero(of[image] == region)
        first = np.searchsorted(own + 1, start[image][here])
        chance = _probabilities(np.stack(here, 1).astype(float), first, clicks[image, own])
        found[image][here] = own[chance.argmax(1)] + 1
    return torch.from_numpy(found).to(owner.device)


def _probabilities(yx: Array, first: Array, clicks: Array) -> Array:
    """`[N, K]` probabilities of the pixels `[N, 2]`, from first owners `[N]` and clicks `[K, 2]`.

    A click counts as one more pixel of its object, so that no ellipse loses all of its pixels.
    """
    taken = slice(None, None, -(-len(yx) // SAMPLE))
    fitted = yx[taken]
    chance = np.eye(len(clicks))[first[taken]]
    for step in range(1, STEPS + 1):
        weight = chance.sum(0) + 1
        mean = (chance.T @ fitted + clicks) / weight[:, None]
        away = fitted[:, None] - mean  # [N, K, 2]
        spread = np.einsum("nk,nki,nkj->kij", chance, away, away) / weight[:, None, None]
        common = np.einsum("k,kij->ij", weight, spread) / weight.sum()
        spread = (1 - SHARED) * spread + SHARED * common + BLUR * np.eye(2)
        if step < STEPS:
            chance = _expected(fitted, weight, mean, spread)
    # of all pixels, in blocks: a large region with many points would take gigabytes at once
    blocks = np.array_split(yx, -(-len(yx) // SAMPLE))
    return np.concatenate([_expected(block, weight, mean, spread) for block in blocks])


def _expected(yx: Array, weight: Array, mean: Array, spread: Array) -> Array:
    """`[N, K]` probabilities of pixels under ellipses: `[K]`, `[K, 2]` and `[K, 2, 2]`."""
    away = yx[:, None] - mean
    exponent = np.einsum("nki,kij,nkj->nk", away, np.linalg.inv(spread), away)
    score = np.log(weight) - (exponent + np.log(np.linalg.det(spread))) / 2
    chance: Array = np.exp(score - score.max(1, keepdims=True))
    chance /= chance.sum(1, keepdims=True)
    return chance
