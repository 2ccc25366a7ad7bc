"""Matrix NMS: every score is lowered at once by how much better masks cover it.

Wang et al. 2020 (SOLOv2), Sec. 3.4 and Algorithm 1.
"""

from __future__ import annotations

import torch
from torch import Tensor

SIGMA = 2.0
"""Of the Gaussian decay `exp(-SIGMA iou^2)`."""


def matrix_nms(masks: Tensor, labels: Tensor, scores: Tensor, sigma: float = SIGMA) -> Tensor:
    """Scores after the decay.

    A mask j falls by the least of `f(iou(i, j)) / f(iou(i))` over the better masks i of its class,
    where `iou(i)` is the most that i itself is covered by a better one, and `f` the Gaussian.

    Args:
        masks: `[N, P]` bool, best first.
        labels: `[N]` int64.
        scores: `[N]` float, falling.
        sigma: of the Gaussian.

    Returns:
        `[N]` float, in the same order; no longer falling.
    """
    flat = masks.to(scores.dtype)
    inside = flat @ flat.T
    areas = flat.sum(1)
    union = areas[:, None] + areas - inside
    better = torch.ones_like(inside).triu(diagonal=1)
    # [i, j]: how much a better mask i of the same class covers j
    iou = inside / union.clamp(min=1) * better * (labels[:, None] == labels)
    none = torch.zeros_like(scores)[None]  # of no mask at all there is a greatest one, too
    covered = torch.cat([none, iou]).amax(0)
    decay = torch.exp(-sigma * (iou**2 - covered[:, None] ** 2))
    return scores * torch.cat([none + 1, decay.where(better > 0, 1.0)]).amin(0)
