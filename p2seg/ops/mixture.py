"""Assigns pixels to points by a mixture of Gaussians, one ellipse per point of a region.

Expectation maximization (EM) fits the ellipses to the region, so the position of a point on its
object has little influence.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

Array = np.ndarray[Any, np.dtype[Any]]

STEPS = 10
"""Iterations of EM."""
SHARED = 0.2
"""Weight of the region's mean covariance in each covariance: adjacent objects are similar."""
BLUR = 0.25
"""Variance in pixels^2 that is added to each covariance."""
SAMPLE = 20_000
"""Maximum number of pixels used for the fit; larger regions are sampled regularly."""


def mixture_owners(
    regions: Tensor, asked: Tensor, region_of: Tensor, pixels: Tensor, owner: Tensor
) -> Tensor:
    """The most probable point of each pixel in selected regions.

    Runs on the CPU; GPU tensors are copied there and back.

    Args:
        regions: `[B, H, W]` int32, region of each pixel, 0..R-1.
        asked: `[B, R]` bool, the selected regions.
        region_of: `[B, K]` int64, region of each point; 0: none.
        pixels: `[B, K, 2]` int64 (y, x), pixel of each point.
        owner: `[B, H, W]` int64, initial owners, k + 1 for the k-th point. In a selected region,
            all owners must be points of that region.

    Returns:
        Owners `[B, H, W]` int64, k + 1 for the k-th point, 0 outside the selected regions.
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
    """Fits the mixture, and returns the probabilities `[N, K]` of all pixels.

    Each point counts as one additional pixel of its component, so no component becomes empty.

    Args:
        yx: `[N, 2]` pixels of the region.
        first: `[N]` initial components.
        clicks: `[K, 2]` pixels of the points.
    """
    sample = slice(None, None, -(-len(yx) // SAMPLE))
    fitted = yx[sample]
    chance = np.eye(len(clicks))[first[sample]]
    for step in range(1, STEPS + 1):
        weight = chance.sum(0) + 1
        mean = (chance.T @ fitted + clicks) / weight[:, None]
        away = fitted[:, None] - mean  # [N, K, 2]
        spread = np.einsum("nk,nki,nkj->kij", chance, away, away) / weight[:, None, None]
        common = np.einsum("k,kij->ij", weight, spread) / weight.sum()
        spread = (1 - SHARED) * spread + SHARED * common + BLUR * np.eye(2)
        if step < STEPS:
            chance = _expected(fitted, weight, mean, spread)
    # in blocks, because a large region with many points would need gigabytes
    blocks = np.array_split(yx, -(-len(yx) // SAMPLE))
    return np.concatenate([_expected(block, weight, mean, spread) for block in blocks])


def _expected(yx: Array, weight: Array, mean: Array, spread: Array) -> Array:
    """E step: probabilities `[N, K]` by weights `[K]`, means `[K, 2]`, covariances `[K, 2, 2]`."""
    away = yx[:, None] - mean
    exponent = np.einsum("nki,kij,nkj->nk", away, np.linalg.inv(spread), away)
    score = np.log(weight) - (exponent + np.log(np.linalg.det(spread))) / 2
    chance: Array = np.exp(score - score.max(1, keepdims=True))
    chance /= chance.sum(1, keepdims=True)
    return chance
