"""Matrix NMS, which lowers the scores of overlapping masks in one step, and point NMS.

Wang et al. 2020 (SOLOv2), Sec. 3.4 and Algorithm 1.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from p2seg.segmentors.solov2.targets import GridLevel

SIGMA = 2.0
"""Parameter of the Gaussian decay `exp(-SIGMA iou^2)`."""


def matrix_nms(masks: Tensor, labels: Tensor, scores: Tensor, sigma: float = SIGMA) -> Tensor:
    """The decayed scores.

    The score of mask j is multiplied by `min_i f(iou(i, j)) / f(iou(i))` over the better masks i of
    its class, where `f(x) = exp(-sigma x^2)` and `iou(i)` is the largest IoU of mask i with a
    better mask of its class.

    Args:
        masks: `[N, P]` bool, best first.
        labels: `[N]` int64, class of each mask.
        scores: `[N]` float, descending.
        sigma: parameter of the decay.

    Returns:
        `[N]` float, in the order of the masks; not necessarily descending.
    """
    flat = masks.to(scores.dtype)
    inside = flat @ flat.T
    areas = flat.sum(1)
    union = areas[:, None] + areas - inside
    better = torch.ones_like(inside).triu(diagonal=1)
    # [i, j]: IoU of mask j with a better mask i of its class.
    iou = inside / union.clamp(min=1) * better * (labels[:, None] == labels)
    none = torch.zeros_like(scores)[None]  # makes the maximum defined for N = 0
    covered = torch.cat([none, iou]).amax(0)
    decay = torch.exp(-sigma * (iou**2 - covered[:, None] ** 2))
    return scores * torch.cat([none + 1, decay.where(better > 0, 1.0)]).amin(0)


def peaks(scores: Tensor, levels: Sequence[GridLevel]) -> Tensor:
    """Point NMS: zeroes scores `[G, C]` below that of the cell above, left or above left."""
    kept, start = [], 0
    for level in levels:
        cells = level.cells
        own = scores[start : start + cells**2].T.unflatten(1, (cells, cells))
        highest = F.max_pool2d(own[None], 2, stride=1, padding=1)[0, :, :cells, :cells]
        kept.append((own * (own == highest)).flatten(1).T)
        start += cells**2
    return torch.cat(kept)
