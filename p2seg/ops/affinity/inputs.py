"""Inputs of the affinity operators: factors of the logit, pairs, and probabilities to spread."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Pairs:
    """The weight of each pair of pixels in a sum of `sigmoid(A)` over pairs.

    Attributes:
        groups: `[B, R, N]` int64, group of each pixel in R groupings; -1: excluded from all pairs.
        weight: `[B, R, G, G]` floating point, weight of a pair by the groups of its two pixels.
    """

    groups: Tensor
    weight: Tensor


@dataclass(frozen=True)
class Spread:
    """Class probabilities to spread along affinities.

    Attributes:
        probabilities: `[B, N, n]` floating point.
        beta: Hadamard power, > 0.
        valid: `[B, N]` bool; an invalid pixel neither gives nor receives, and keeps its
            probabilities. None: all pixels are valid.
    """

    probabilities: Tensor
    beta: float
    valid: Tensor | None = None


def factors(embedding: Tensor) -> Tensor:
    """The factors F of the affinity logit `A = F F^T`, with `A[i, j] = f_i . f_j / sqrt(d)`.

    Args:
        embedding: `[B, d, h, w]`.

    Returns:
        `[B, N, d]` float32, N = h w; float64 for a float64 embedding.
    """
    embedding = embedding if embedding.dtype == torch.float64 else embedding.float()
    scale: float = embedding.shape[1] ** -0.25
    return embedding.flatten(2).transpose(1, 2) * scale


def symmetric(pairs: Pairs) -> Pairs:
    """Equivalent pairs with symmetric weights; the sum is the same because A is symmetric."""
    return replace(pairs, weight=(pairs.weight + pairs.weight.transpose(-1, -2)) / 2)
