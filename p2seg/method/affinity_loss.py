"""The affinity loss: raises the affinity of pixels of one instance and lowers all others.

Paper: Eq. 5.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from p2seg.ops.affinity import Pairs, Way, pair_sum
from p2seg.runtime.ranks import shared_count
from p2seg.structures import STRIDE, Labels

Background = Literal["group", "apart", "unpaired"]


def pair_coefficients(size: Tensor, background: Background) -> tuple[Tensor, Tensor]:
    """The coefficients of a pair of pixels in Eq. 5, by the groups of the two pixels.

    A positive pair lies in one group, a negative pair in two groups. All positive pairs have the
    coefficient 1 / (number of positive pairs), and all negative pairs likewise.

    Args:
        size: `[..., G]` int64, number of pixels of each group; group 0 is the background.
        background: two background pixels are a positive pair (`group`), a negative pair (`apart`),
            or no pair (`unpaired`).

    Returns:
        Coefficients of positive pairs and of negative pairs, each `[..., G, G]` float64; 0 for
        other pairs.
    """
    n = size.double()
    pairs = n[..., :, None] * n[..., None, :]
    own = torch.eye(size.shape[-1], dtype=torch.bool, device=size.device)
    other = (~own).double().expand_as(pairs).clone()
    if background != "group":
        own[0, 0] = False
        other[..., 0, 0] = background == "apart"
    positive = own / (pairs * own).sum((-2, -1), keepdim=True).clamp(min=1)
    negative = other / (other * pairs).sum((-2, -1), keepdim=True).clamp(min=1e-9)
    return positive, negative


def affinity_loss(
    factors: Tensor,
    groups: Tensor,
    count: int,
    *,
    background: Background = "group",
    way: Way = "auto",
) -> Tensor:
    """`mean_positive(1 - sigmoid(A_ij)) + mean_negative(sigmoid(A_ij))`. Paper: Eq. 5.

    The sigmoid of the label in Eq. 5 is a constant and omitted.

    Args:
        factors: `[B, N, d]`, F of the affinity logit `A = F F^T`, N = h w.
        groups: `[B, R, N]` int64 in R rounds: 0 background, k + 1 the k-th point's instance, -1
            excluded from all pairs.
        count: G, maximum number of groups, including the background.
        background: see `pair_coefficients`.
        way: implementation of the affinity operators, see `p2seg.ops.affinity`.

    Returns:
        `[]` float32 in 0..2: mean over the images that have a pair, then over the rounds.
    """
    images, rounds, _ = groups.shape
    size = groups.new_zeros(images, rounds, count + 1)
    size.scatter_add_(2, groups + 1, torch.ones_like(groups))
    size = size[:, :, 1:]
    positive, negative = pair_coefficients(size, background)
    some = (size.sum(2) > 0).double()
    share = some / shared_count(some.sum(0)) / rounds
    pairs = size[..., :, None].double() * size[..., None, :].double()
    constant = ((positive * pairs).sum((2, 3)) * share).sum().float()
    weight = (negative - positive) * share[..., None, None]
    # DDP needs every parameter in the graph, so the sum is also computed without any pair
    return constant + pair_sum(factors, Pairs(groups, weight.float()), way).sum()


def pixel_groups(labels: Labels) -> Tensor:
    """The group of each cell of the stride-4 grid in Eq. 5.

    Args:
        labels: labels `[B, H, W]`, H and W multiples of 4.

    Returns:
        `[B, h, w]` int64: 0 background, k + 1 the k-th point's instance, -1 excluded (ignored, or a
        class without an instance).
    """
    at = (..., slice(STRIDE // 2, None, STRIDE), slice(STRIDE // 2, None, STRIDE))
    semantic, instances = labels.semantic[at], labels.instances[at]
    groups = torch.where(instances > 0, instances, -1)
    return torch.where((semantic == 0) & (instances == 0), 0, groups)
