"""Instance-to-semantic conversion (I2S): refines a semantic map by spreading it along affinities.

Paper: Sec. 3.2, S = A^(o beta) * C.
"""

from __future__ import annotations

import torch
from torch import Tensor

from p2seg.errors import UserError
from p2seg.method.grid import upsample
from p2seg.ops.affinity import Spread, Way, factors, refine
from p2seg.structures import STRIDE, Outputs, Points, class_set

FAINT = 1e-3
"""Added to both probabilities of a ratio, so that a class with probability 0 in a cell stays
possible in a pixel of the cell."""


def class_channels(points: list[Points], num_classes: int, device: torch.device) -> Tensor:
    """The channels of each image's class set, ascending, filled up with other channels.

    The class set is the background and the classes of the image's points. On a GPU, n is an upper
    bound from the number of points, because reading the number of classes would synchronize.

    Returns:
        `[B, n]` int64.
    """
    present = class_set(points, num_classes, device)
    most = min(num_classes, max(map(len, points))) + 1
    count = int(present.sum(1).max()) if device.type == "cpu" else most
    order = present.byte().argsort(dim=1, descending=True, stable=True)
    return order[:, :count]


def channels_of(maps: Tensor, channels: Tensor) -> Tensor:
    """Selects channels `[B, n]` of maps `[B, C+1, h, w]`; returns `[B, n, h, w]`."""
    return maps.gather(1, channels[:, :, None, None].expand(-1, -1, *maps.shape[2:]))


def class_probabilities(class_logits: Tensor, points: list[Points]) -> Tensor:
    """`P_0`: softmax of the class logits over each image's class set.

    Args:
        class_logits: `[B, C+1, h, w]`.
        points: points of the B images.

    Returns:
        `[B, C+1, h, w]` float32; 0 for classes outside the image's class set.
    """
    present = class_set(points, class_logits.shape[1] - 1, class_logits.device)
    logits = class_logits.float().masked_fill(~present[:, :, None, None], -torch.inf)
    return logits.softmax(1)


def at_full_size(
    maps: Tensor,
    outputs: Outputs,
    points: list[Points],
    size: tuple[int, ...],
    channels: Tensor | None = None,
) -> Tensor:
    """Upsamples class probabilities from the stride-4 grid to pixels.

    With a detail head, the result is the network's full-resolution probability times the upsampled
    change `S_t / P_0` by I2S, normalized to sum 1.

    Args:
        maps: `[B, C+1, h, w]` probabilities, `P_0` or `S_t`.
        outputs: the network's outputs.
        points: points of the B images.
        size: (H, W) in pixels.
        channels: `[B, n]` int64, the channels to return, which include each image's class set.
            None: all channels.

    Returns:
        `[B, n, H, W]` float32.
    """

    def select(each: Tensor) -> Tensor:
        return each if channels is None else channels_of(each, channels)

    if outputs.detailed_logits is None:
        return upsample(select(maps), size)
    before = select(class_probabilities(outputs.class_logits, points))
    detailed = select(class_probabilities(outputs.detailed_logits, points))
    change = (select(maps) + FAINT).log() - (before + FAINT).log()
    product = detailed * upsample(change, size).exp()
    return product / product.sum(1, keepdim=True)


def affinity_factors(outputs: Outputs) -> Tensor:
    """The factors F `[B, N, d]` of the logit `A = F F^T`, see `p2seg.ops.affinity.factors`.

    Args:
        outputs: the network's outputs.

    Raises:
        UserError: the network has no affinities.
    """
    if outputs.embedding is None:
        raise UserError(
            "rounds of mutual distillation and loss.affinity need affinities, which this network "
            "does not have; set mdm.rounds, export.rounds and loss.affinity to 0, or train with "
            "mdm=paper"
        )
    return factors(outputs.embedding)


def cells_of(points: Points, outputs: Outputs) -> Tensor:
    """The raster index `[K]` int64 of each point's cell on the stride-4 grid."""
    height, width = outputs.offset.shape[2:]
    y, x = (points.pixels.to(outputs.offset.device) // STRIDE).unbind(1)
    return y.clamp(max=height - 1) * width + x.clamp(max=width - 1)


def affinities_of(outputs: Outputs, cells: Tensor) -> Tensor:
    """The affinity `sigmoid(A)` of given cells to all cells.

    Args:
        outputs: the network's outputs.
        cells: `[n]` int64, raster indices of the given cells on the stride-4 grid.

    Returns:
        `[B, n, h, w]` float32 in 0..1.
    """
    factors = affinity_factors(outputs)
    logit: Tensor = factors[:, cells] @ factors.transpose(1, 2)
    return logit.sigmoid().view(*logit.shape[:2], *outputs.offset.shape[2:])


def instance_to_semantic(
    factors: Tensor,
    probabilities: Tensor,
    channels: Tensor,
    *,
    beta: float,
    valid: Tensor | None = None,
    way: Way = "auto",
) -> Tensor:
    """One step of I2S: `S_t = W P_{t-1}` with `W = sigmoid(A)^beta`, rows normalized to sum 1.

    Args:
        factors: `[B, N, d]`, F of the affinity logit `A = F F^T`.
        probabilities: `[B, C+1, h, w]`, `P_{t-1}`.
        channels: `[B, n]` int64, the channels of the class sets; the others are 0.
        beta: the Hadamard power.
        valid: `[B, h, w]` bool, cells that are neither padding nor ignored.
        way: implementation of the affinity operators, see `p2seg.ops.affinity`.

    Returns:
        `[B, C+1, h, w]` float32 probabilities, without gradient.
    """
    p = channels_of(probabilities, channels)
    valid_cells = None if valid is None else valid.flatten(1)
    spread = Spread(p.flatten(2).transpose(1, 2), beta, valid_cells)
    refined = refine(factors, spread, way).transpose(1, 2).view_as(p)
    at = channels[:, :, None, None].expand_as(refined)
    return refined.new_zeros(probabilities.shape).scatter(1, at, refined)
