"""Batch, group or frozen normalization for a whole network."""

from __future__ import annotations

from typing import Literal

import torch
from timm.layers.norm_act import BatchNormAct2d
from torch import nn
from torchvision.ops import FrozenBatchNorm2d

Norm = Literal["batch", "group", "frozen"]

BATCH_MOMENTUM = 0.01
"""Value of BESTIE's code, whose training settings the paper adopts."""


def set_norms(module: nn.Module, norm: Norm) -> nn.Module:
    """Replaces every batch normalization of a network, and keeps scales and shifts.

    Args:
        module: the network, changed in place.
        norm: `batch`: momentum 0.01, synchronized over GPUs by the engine. `group`: group
            normalization. `frozen`: batch normalization with constant statistics, those of the
            pretrained weights (mean 0, variance 1 with random weights).

    Returns:
        The network.
    """
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            if norm == "batch":
                child.momentum = BATCH_MOMENTUM
            else:
                setattr(module, name, _converted(child, norm))
        else:
            set_norms(child, norm)
    return module


def _converted(batch_norm: nn.BatchNorm2d, norm: Norm) -> nn.Module:
    channels = batch_norm.num_features
    new: nn.Module
    if norm == "frozen":
        frozen = FrozenBatchNorm2d(channels, eps=batch_norm.eps)
        frozen.load_state_dict(
            {k: v for k, v in batch_norm.state_dict().items() if k != "num_batches_tracked"}
        )
        new = frozen
    else:
        new = nn.GroupNorm(groups_of(channels), channels, eps=batch_norm.eps)
        with torch.no_grad():
            new.weight.copy_(batch_norm.weight)
            new.bias.copy_(batch_norm.bias)
    if isinstance(batch_norm, BatchNormAct2d):  # timm's layer contains the activation
        return nn.Sequential(new, batch_norm.drop, batch_norm.act)
    return new


def groups_of(channels: int) -> int:
    """Number of groups: the largest of 32, 16, 8, 4, 3, 2 with >= 2 channels per group, else 1."""
    fitting = (g for g in (32, 16, 8, 4, 3, 2) if channels % g == 0 and channels >= 2 * g)
    return next(fitting, 1)
