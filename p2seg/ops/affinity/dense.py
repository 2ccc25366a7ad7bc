"""The affinity operators from the whole matrix: the twin that the fast ways are checked against."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from p2seg.ops.affinity.inputs import Factors, Pairs, Spread


def affinity(
    factors: Factors, pairs: Pairs | None, spread: Spread | None
) -> tuple[Tensor | None, Tensor | None]:
    """As `p2seg.ops.affinity.affinity`; it holds several `[B, N, N]`."""
    logit = factors.left @ factors.right.transpose(1, 2) - factors.bias
    total = None if pairs is None else _pair_sum(logit, pairs)
    return total, None if spread is None else _spread(logit, spread)


def _pair_sum(logit: Tensor, pairs: Pairs) -> Tensor:
    weight = torch.zeros_like(logit)
    for r, groups in enumerate(pairs.groups.unbind(1)):
        image = torch.arange(len(groups), device=groups.device)[:, None, None]
        counted = (groups[:, :, None] >= 0) & (groups[:, None] >= 0)
        table = pairs.weight[:, r].to(logit.dtype)
        weight += counted * table[image, groups[:, :, None], groups[:, None]]
    return (weight * logit.sigmoid()).sum((1, 2))


def _spread(logit: Tensor, spread: Spread) -> Tensor:
    p = spread.probabilities.to(logit.dtype)
    log_weight = spread.beta * F.logsigmoid(logit)
    if spread.groups is not None:
        other = spread.groups[:, :, None] != spread.groups[:, None]
        log_gamma = math.log(spread.gamma) if spread.gamma > 0 else -math.inf
        log_weight = torch.where(other, log_weight + log_gamma, log_weight)
    if spread.valid is None:
        return log_weight.softmax(2) @ p
    # a row without any valid column would be 0 / 0; it is not used
    log_weight = log_weight.masked_fill(~spread.valid[:, None], torch.finfo(logit.dtype).min)
    return torch.where(spread.valid[:, :, None], log_weight.softmax(2) @ p, p)
