"""I2S: from affinities and instances to a better semantic map.

Paper: Sec. 3.2, S = A^(o beta) * C.
"""

from __future__ import annotations

import torch
from torch import Tensor

from p2seg.ops.affinity import factors, refine
from p2seg.structures import STRIDE, Outputs, Points


def class_set(points: Points, num_classes: int) -> Tensor:
    """`[C + 1]` bool: background and the classes of all the image's points."""
    present = torch.zeros(num_classes + 1, dtype=torch.bool, device=points.labels.device)
    present[0] = True
    present[points.labels] = True
    return present


def class_probabilities(class_logits: Tensor, points: list[Points]) -> Tensor:
    """`P_0`: softmax of the class logits over each image's class set.

    Args:
        class_logits: `[B, C+1, h, w]`.
        points: of the B images.

    Returns:
        `[B, C+1, h, w]` float32, 0 for classes that an image does not have.
    """
    num_classes = class_logits.shape[1] - 1
    present = torch.stack([class_set(p, num_classes) for p in points]).to(class_logits.device)
    logits = class_logits.float().masked_fill(~present[:, :, None, None], -torch.inf)
    return logits.softmax(1)


def affinity_factors(outputs: Outputs, foreground: Tensor) -> tuple[Tensor, Tensor]:
    """Factors of the affinity logit of a batch, with votes where the network uses them.

    Args:
        outputs: of the network.
        foreground: `[B, h, w]` bool, the pixels that vote.

    Returns:
        left and right, `[B, h w, D]`.
    """
    if outputs.affinity_scale is None:
        return factors(outputs.embedding)
    h, w = foreground.shape[1:]
    device = outputs.offset.device
    y = torch.arange(h, device=device) * STRIDE + (STRIDE - 1) / 2
    x = torch.arange(w, device=device) * STRIDE + (STRIDE - 1) / 2
    grid = torch.stack(torch.meshgrid(y, x, indexing="ij"))
    voter = foreground[:, None].to(outputs.offset)
    votes = torch.cat([grid + outputs.offset, voter], 1)
    return factors(outputs.embedding, votes, outputs.affinity_scale)


def instance_to_semantic(
    left: Tensor,
    right: Tensor,
    bias: Tensor,
    probabilities: Tensor,
    *,
    beta: float,
    gamma: float = 1.0,
    instances: Tensor | None = None,
    valid: Tensor | None = None,
) -> Tensor:
    """One step of I2S on one image: `S_t = W_{t-1} P_{t-1}`.

    Args:
        left: `[h w, D]`.
        right: `[h w, D]`.
        bias: `[]`.
        probabilities: `[C+1, h, w]`, `P_{t-1}`.
        beta: the Hadamard power.
        gamma: what the affinity of pixels of different instances counts.
        instances: `[h, w]` int64, `I_{t-1}`; None in the first round.
        valid: `[h, w]` bool, pixels that are neither padding nor ignored.

    Returns:
        `[C+1, h, w]` float32 probabilities.
    """
    classes, h, w = probabilities.shape
    used = probabilities.detach().amax((1, 2)) > 0  # channels outside the class set stay 0
    flat = probabilities[used].flatten(1).T
    groups = None if instances is None else instances.flatten()
    keep = None if valid is None or bool(valid.all()) else valid.flatten()
    refined = refine(left, right, bias, flat, beta, groups, gamma, keep)
    semantic = probabilities.new_zeros(classes, h, w)
    semantic[used] = refined.T.reshape(-1, h, w)
    return semantic
