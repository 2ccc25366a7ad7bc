"""The losses of Eqs. 3 and 4, and the sum of all losses over the rounds. Eq. 5: `affinity_loss`.

Among several processes a mean over images is that over the images of all: see `shared_count`.

Paper: Sec. 3.3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from p2seg.errors import UserError
from p2seg.method.affinity_loss import Background, affinity_loss, pixel_groups
from p2seg.ops.affinity import Way
from p2seg.ops.lookup import look_up
from p2seg.runtime.ranks import shared_count
from p2seg.structures import (
    IGNORED,
    Batch,
    Labels,
    Outputs,
    PointBatch,
    Points,
    class_set,
    pixel_grid,
)

Classes = Literal["all", "image"]
Target = Literal["first", "round"]


def hardest_mean(losses: Tensor, valid: Tensor, ratio: float) -> Tensor:
    """Mean over the hardest pixels of each image, then over the images that have any.

    Args:
        losses: `[B, H, W]` float32, not negative.
        valid: `[B, H, W]` bool.
        ratio: share of an image's valid pixels that is taken, at least one pixel.

    Returns:
        `[]`, 0 when no image has a valid pixel.
    """
    valid = valid.flatten(1)
    pixels = valid.sum(1)
    if ratio < 1:
        count = (ratio * pixels.double()).long().clamp(min=1)
        # as many as there can be, for the host does not know the count; the others weigh nothing
        most = max(1, int(ratio * valid.shape[1]))
        hardest = losses.flatten(1).masked_fill(~valid, -1).topk(most, 1).values
        taken = torch.arange(most, device=count.device) < count[:, None]
    else:
        count, hardest, taken = pixels.clamp(min=1), losses.flatten(1), valid
    means = (hardest * (taken & (pixels > 0)[:, None])).sum(1) / count
    return means.sum() / shared_count((pixels > 0).sum())


def segmentation_loss(log_probabilities: Tensor, target: Tensor, ratio: float) -> Tensor:
    """Cross entropy over hard pixels. Paper: Eq. 4 and Table 5.

    Args:
        log_probabilities: `[B, C+1, H, W]`.
        target: `[B, H, W]` int64, 255 ignored.
        ratio: hard pixel ratio, 0..1.
    """
    losses = F.nll_loss(log_probabilities, target, ignore_index=IGNORED, reduction="none")
    return hardest_mean(losses, target != IGNORED, ratio)


def offset_targets(instances: Tensor, points: list[Points]) -> Tensor:
    """Offsets from every pixel to its point. Paper: Eq. 2.

    Args:
        instances: `[B, H, W]` int64, 0 none, k + 1 the k-th point.
        points: of the B images.

    Returns:
        `[B, 2, H, W]` float32 (dy, dx); 0 where there is no instance.
    """
    goals = F.pad(PointBatch.of(points, instances.device).yx, (0, 0, 1, 0)).transpose(1, 2)
    goal = look_up(goals.contiguous(), instances)
    return goal.sub_(pixel_grid(instances)).mul_((instances > 0)[:, None])


def offset_loss(offset: Tensor, instances: Tensor, points: list[Points]) -> Tensor:
    """Smooth L1 of the offsets over the labeled pixels. Paper: Eq. 3 with W = 1.

    Args:
        offset: `[B, 2, H, W]` pixels.
        instances: `[B, H, W]` int64.
        points: of the B images.

    Returns:
        `[]`, mean over the images with instances; 0 when there is none.
    """
    targets = offset_targets(instances, points)
    loss = F.smooth_l1_loss(offset, targets, reduction="none").sum(1)
    labeled = instances > 0
    pixels = labeled.sum((1, 2))
    means = (loss * labeled).sum((1, 2)) / pixels.clamp(min=1)
    return means.sum() / shared_count((pixels > 0).sum())


def label_losses(
    outputs: Outputs,
    rounds: list[Labels],
    batch: Batch,
    *,
    hard_pixel_ratio: float,
    classes: Classes = "all",
    target: Target = "first",
) -> tuple[Tensor, Tensor]:
    """Eqs. 4 and 3 of a batch, each averaged over the rounds.

    Args:
        outputs: of the network on the batch.
        rounds: their labels, the seed first.
        batch: the batch.
        hard_pixel_ratio: share of the pixels Eq. 4 looks at.
        classes: that class logits compete with in Eq. 4: `all`, or an `image`'s own and background.
        target: of Eq. 4 in each round: the `first` map, or the map that the `round` starts from.

    Returns:
        `[]` and `[]`.
    """
    size = batch.labels.semantic.shape[1:]
    given = segmentation_target(batch.labels.semantic, batch.points)
    offset = _at_input_size(outputs.offset, size)
    logits = outputs.detailed_logits
    if logits is None:
        logits = _at_input_size(outputs.class_logits, size)
    if classes == "image":
        present = class_set(batch.points, logits.shape[1] - 1, logits.device)
        logits = logits.masked_fill(~present[:, :, None, None], -torch.inf)
    own = F.log_softmax(logits, 1)
    segmentation = [segmentation_loss(own, given, hard_pixel_ratio)]
    for labels in rounds[1:]:
        if target == "round":
            later = labels.semantic.masked_fill(given == IGNORED, IGNORED)
            later = segmentation_target(later, batch.points)
            segmentation.append(segmentation_loss(own, later, hard_pixel_ratio))
    offsets = [offset_loss(offset, labels.instances, batch.points) for labels in rounds]
    return torch.stack(segmentation).mean(), torch.stack(offsets).mean()


@dataclass(frozen=True)
class P2SegLoss:
    """Weights and choices of the whole objective; it keeps nothing between calls.

    Attributes:
        segmentation: weight of Eq. 4.
        offset: weight of Eq. 3.
        affinity: weight of Eq. 5.
        hard_pixel_ratio: share of the pixels Eq. 4 looks at.
        classes: that class logits compete with in Eq. 4: `all` (the paper's), or an `image`'s own
            and background, as at export: sooner learned where images are few and classes many.
        background: what two background pixels are in Eq. 5, see `pair_coefficients`.
        target: of Eq. 4 in each round, see `label_losses`.
    """

    segmentation: float = 1.0
    offset: float = 0.01
    affinity: float = 1.0
    hard_pixel_ratio: float = 0.2
    classes: Classes = "all"
    background: Background = "group"
    target: Target = "first"

    def __post_init__(self) -> None:
        if not 0 < self.hard_pixel_ratio <= 1:
            raise UserError(f"loss.hard_pixel_ratio={self.hard_pixel_ratio}: must be > 0 and <= 1")

    def __call__(
        self,
        outputs: Outputs,
        rounds: list[Labels],
        batch: Batch,
        factors: Tensor | None,
        way: Way = "auto",
        pairs: list[Labels] | None = None,
    ) -> dict[str, Tensor]:
        """The weighted losses, each averaged over the rounds.

        Args:
            outputs: of the network on the batch.
            rounds: labels of MDM, the seed's first.
            batch: the batch.
            factors: `[B, N, d]` of the affinity logit; None: without Eq. 5.
            way: of the affinity operators, which changes no result.
            pairs: labels whose pairs of pixels Eq. 5 looks at; None: `rounds`.

        Returns:
            `segmentation`, `offset` and, with factors, `affinity`, each `[]`; the objective is
            their sum.
        """
        segmentation, offset = label_losses(
            outputs,
            rounds,
            batch,
            hard_pixel_ratio=self.hard_pixel_ratio,
            classes=self.classes,
            target=self.target,
        )
        losses = {"segmentation": self.segmentation * segmentation, "offset": self.offset * offset}
        if factors is None:
            return losses
        affinity = affinity_loss(
            factors,
            torch.stack([pixel_groups(labels).flatten(1) for labels in pairs or rounds], 1),
            1 + max(1, *map(len, batch.points)),
            background=self.background,
            way=way,
        )
        return losses | {"affinity": self.affinity * affinity}


def segmentation_target(semantic: Tensor, points: list[Points]) -> Tensor:
    """The first map with every point's pixel in its class.

    Args:
        semantic: `[B, H, W]` int64.
        points: of the B images.
    """
    target = semantic.clone(memory_format=torch.contiguous_format)
    batch = PointBatch.of(points, target.device)
    return batch.stamp_(target, batch.labels)


def _at_input_size(grid: Tensor, size: torch.Size) -> Tensor:
    return F.interpolate(grid.float(), size, mode="bilinear", align_corners=False)
