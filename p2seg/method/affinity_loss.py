"""The affinity loss: pixels of one instance are alike, others are not. Pure functions of tensors.

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
    """What a pair of pixels of each two groups counts in Eq. 5.

    Every positive pair counts alike, and every negative one.

    Args:
        size: `[..., G]` int64, pixels of each group, the background's first.
        background: two background pixels are a positive pair (`group`), a negative one (`apart`),
            or no pair (`unpaired`).

    Returns:
        `[..., G, G]` float64 coefficients of the positive pairs (its diagonal) and of the negative
        ones.
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
    """Affinities of pairs in one group up, of others down. Paper: Eq. 5.

    The label's own sigmoid in Eq. 5 is a constant and left out.

    Args:
        factors: `[B, N, d]` of the affinity logit.
        groups: `[B, R, N]` int64 of R rounds: 0 background, k + 1 instances, -1 in no pair.
        count: G, groups there can be, the background among them.
        background: what two background pixels are, see `pair_coefficients`.
        way: of the affinity operators.

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
    # with no pair at all it is 0, and every parameter still in the graph, as DDP needs
    return constant + pair_sum(factors, Pairs(groups, weight.float()), way).sum()


def pixel_groups(labels: Labels) -> Tensor:
    """The group of every pixel of the stride-4 grid in Eq. 5.

    Args:
        labels: of `[B, H, W]`, H and W multiples of 4.

    Returns:
        `[B, h, w]` int64: 0 background, k + 1 instances, -1 in no pair (ignored, or without an
        instance).
    """
    at = (..., slice(STRIDE // 2, None, STRIDE), slice(STRIDE // 2, None, STRIDE))
    semantic, instances = labels.semantic[at], labels.instances[at]
    groups = torch.where(instances > 0, instances, -1)
    return torch.where((semantic == 0) & (instances == 0), 0, groups)
