"""Reference implementation of the affinity operators, which stores the whole matrix."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from p2seg.ops.affinity.inputs import Pairs, Spread


def pair_sum(factors: Tensor, pairs: Pairs) -> Tensor:
    """See `p2seg.ops.affinity.pair_sum`; stores several `[B, N, N]` tensors."""
    logit = factors @ factors.transpose(1, 2)
    weight = torch.zeros_like(logit)
    for r, groups in enumerate(pairs.groups.unbind(1)):
        image = torch.arange(len(groups), device=groups.device)[:, None, None]
        counted = (groups[:, :, None] >= 0) & (groups[:, None] >= 0)
        table = pairs.weight[:, r].to(logit.dtype)
        weight += counted * table[image, groups[:, :, None], groups[:, None]]
    return (weight * logit.sigmoid()).sum((1, 2))


def refine(factors: Tensor, spread: Spread) -> Tensor:
    """See `p2seg.ops.affinity.refine`; stores several `[B, N, N]` tensors."""
    p = spread.probabilities.to(factors.dtype)
    log_weight = spread.beta * F.logsigmoid(factors @ factors.transpose(1, 2))
    if spread.valid is None:
        return log_weight.softmax(2) @ p
    # not -inf, with which a row without any valid column would be NaN
    log_weight = log_weight.masked_fill(~spread.valid[:, None], torch.finfo(p.dtype).min)
    return torch.where(spread.valid[:, :, None], log_weight.softmax(2) @ p, p)
