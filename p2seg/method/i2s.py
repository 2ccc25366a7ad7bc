"""I2S: from affinities and instances to better semantic maps.

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
"""Added to probabilities whose ratio is taken, so that a class which a cell does not have stays
possible in one of its pixels."""


def class_channels(points: list[Points], num_classes: int, device: torch.device) -> Tensor:
    """`[B, n]` int64: channels that hold every class of an image's set, ascending, then others.

    On a GPU n is what the number of points allows, for the number of classes is not known to the
    host without waiting.
    """
    present = class_set(points, num_classes, device)
    most = min(num_classes, max(map(len, points))) + 1
    count = int(present.sum(1).max()) if device.type == "cpu" else most
    order = present.byte().argsort(dim=1, descending=True, stable=True)
    return order[:, :count]


def channels_of(maps: Tensor, channels: Tensor) -> Tensor:
    """Those channels `[B, n]` of maps `[B, C+1, h, w]`: `[B, n, h, w]`."""
    return maps.gather(1, channels[:, :, None, None].expand(-1, -1, *maps.shape[2:]))


def class_probabilities(class_logits: Tensor, points: list[Points]) -> Tensor:
    """`P_0`: softmax of the class logits over each image's class set.

    Args:
        class_logits: `[B, C+1, h, w]`.
        points: of the B images.

    Returns:
        `[B, C+1, h, w]` float32, 0 for classes that an image does not have.
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
    """Class probabilities of every pixel, of a map on the stride-4 grid.

    With a detail head they are the network's own at full resolution, times what I2S has changed
    on the grid, `S_t / P_0`.

    Args:
        maps: `[B, C+1, h, w]` probabilities, `P_0` or `S_t`.
        outputs: of the network.
        points: of the B images.
        size: (H, W).
        channels: `[B, n]` int64, those that are wanted; they hold all classes of an image. None:
            all.

    Returns:
        `[B, n, H, W]` float32.
    """

    def wanted(each: Tensor) -> Tensor:
        return each if channels is None else channels_of(each, channels)

    if outputs.detailed_logits is None:
        return upsample(wanted(maps), size)
    before = wanted(class_probabilities(outputs.class_logits, points))
    own = wanted(class_probabilities(outputs.detailed_logits, points))
    change = (wanted(maps) + FAINT).log() - (before + FAINT).log()
    made = own * upsample(change, size).exp()
    return made / made.sum(1, keepdim=True)


def affinity_factors(outputs: Outputs) -> Tensor:
    """Factors of the affinity logit of a batch, see `p2seg.ops.affinity.factors`.

    Args:
        outputs: of the network.

    Raises:
        UserError: the network has no affinities.
    """
    if outputs.embedding is None:
        raise UserError(
            "rounds of I2S and loss.affinity need affinities, which this network does not have; "
            "set mdm.rounds, export.rounds and loss.affinity to 0, or train with mdm=paper"
        )
    return factors(outputs.embedding)


def cells_of(points: Points, outputs: Outputs) -> Tensor:
    """`[K]` int64: the raster index on the stride-4 grid of the cell that each point is in."""
    height, width = outputs.offset.shape[2:]
    y, x = (points.pixels.to(outputs.offset.device) // STRIDE).unbind(1)
    return y.clamp(max=height - 1) * width + x.clamp(max=width - 1)


def affinities_of(outputs: Outputs, cells: Tensor) -> Tensor:
    """The affinity of every pixel to some.

    Args:
        outputs: of the network.
        cells: `[n]` int64, raster indices of these on the stride-4 grid.

    Returns:
        `[B, n, h, w]` float32 in 0..1.
    """
    given = affinity_factors(outputs)
    logit: Tensor = given[:, cells] @ given.transpose(1, 2)
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
    """One step of I2S: `S_t = W P_{t-1}`.

    Args:
        factors: `[B, N, d]` of the affinity logit.
        probabilities: `[B, C+1, h, w]`, `P_{t-1}`.
        channels: `[B, n]` int64, those that are not 0 everywhere.
        beta: the Hadamard power.
        valid: `[B, h, w]` bool, pixels that are neither padding nor ignored.
        way: of the affinity operators.

    Returns:
        `[B, C+1, h, w]` float32 probabilities, without gradient.
    """
    given = channels_of(probabilities, channels)
    shown = None if valid is None else valid.flatten(1)
    spread = Spread(given.flatten(2).transpose(1, 2), beta, shown)
    refined = refine(factors, spread, way).transpose(1, 2).view_as(given)
    at = channels[:, :, None, None].expand_as(refined)
    return refined.new_zeros(probabilities.shape).scatter(1, at, refined)
