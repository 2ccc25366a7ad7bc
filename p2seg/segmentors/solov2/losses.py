"""SOLOv2's losses: focal loss for the classes of the cells, dice loss for their masks.

Wang et al. 2020 (SOLOv2), Sec. 3.5, with instance weights (see `InstanceTarget`). Means are over
the batches of all processes, see `shared_count`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import sigmoid_focal_loss

from p2seg.runtime.ranks import shared_count
from p2seg.segmentors.data import InstanceTarget
from p2seg.segmentors.solov2.heads import RawOutputs
from p2seg.structures import STRIDE

FOCAL = {"alpha": 0.25, "gamma": 2.0}


def category_loss(
    logits: Tensor, owners: Sequence[Tensor], targets: Sequence[InstanceTarget]
) -> Tensor:
    """Sum of the focal loss (Lin et al. 2017) over all cells / (number of cells with instance + 1).

    Cells of an instance with weight 0 are ignored in both.

    Args:
        logits: `[B, G, C]`.
        owners: B tensors `[G]`, returned by `grid_owners`.
        targets: B targets; a cell has the weight of its instance, or 1 without one.

    Returns:
        `[]`.
    """
    total, count = logits.new_zeros(()), torch.zeros((), device=logits.device)
    for own, owner, target in zip(logits.float(), owners, targets, strict=True):
        has_instance = owner >= 0
        weights, labels = torch.ones_like(owner, dtype=own.dtype), torch.zeros_like(owner)
        weights[has_instance] = target.weights[owner[has_instance]]
        labels[has_instance] = target.labels[owner[has_instance]]
        truth = F.one_hot(labels, own.shape[1] + 1)[:, 1:].to(own.dtype)
        each = sigmoid_focal_loss(own, truth, **FOCAL).sum(1)
        total = total + (each * weights).sum()
        count = count + (has_instance & (weights > 0)).sum()
    return total / shared_count(count, extra=1)


def mask_loss(
    outputs: RawOutputs, owners: Sequence[Tensor], targets: Sequence[InstanceTarget]
) -> Tensor:
    """Mean dice loss over all cells with an instance; 0 without any.

    An instance that covers less than half of every feature cell is ignored.

    Args:
        outputs: raw outputs for the batch.
        owners: B tensors `[G]`, returned by `grid_owners`.
        targets: B targets; a cell has the mask weight of its instance.

    Returns:
        `[]`.
    """
    losses = [outputs.features.sum() * 0 + outputs.kernels.sum() * 0]
    count = outputs.features.new_zeros((), dtype=torch.float)
    for kernels, features, owner, target in zip(
        outputs.kernels, outputs.features, owners, targets, strict=True
    ):
        truth = shrunk(target.masks, features.shape[1], features.shape[2]).flatten(1)
        weights = target.mask_weights * truth.any(1)
        cells = (owner >= 0).nonzero()[:, 0]
        cells = cells[weights[owner[cells]] > 0]
        if len(cells):
            own = (kernels[cells] @ features.flatten(1)).float().sigmoid()
            losses.append((dice_loss(own, truth[owner[cells]]) * weights[owner[cells]]).sum())
            count += len(cells)
    return torch.stack(losses).sum() / shared_count(count)


def dice_loss(probabilities: Tensor, truth: Tensor) -> Tensor:
    """`1 - 2 sum(pq) / (sum(p^2) + sum(q^2))` `[P]` of two tensors `[P, N]` in 0..1."""
    both = (probabilities * truth).sum(1)
    squares = (probabilities**2).sum(1) + (truth**2).sum(1)
    return 1 - 2 * both / squares.clamp(min=1e-3)


def shrunk(masks: Tensor, height: int, width: int) -> Tensor:
    """Downsamples masks `[K, H, W]` uint8 to stride 4 of a padded input.

    Returns:
        `[K, height, width]` float, 1 if the mask covers at least half of the cell, else 0.
    """
    h, w = masks.shape[1:]
    padded = F.pad(masks, (0, STRIDE * width - w, 0, STRIDE * height - h))
    return (F.avg_pool2d(padded[:, None].float(), STRIDE)[:, 0] >= 0.5).float()
