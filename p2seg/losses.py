"""The losses of Eqs. 3 to 5 and their sum over the rounds. Pure functions of tensors.

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
from p2seg.ops.affinity import Factors, Pairs, Way, pair_sum
from p2seg.ops.lookup import look_up
from p2seg.runs.ranks import shared_count
from p2seg.structures import (
    IGNORED,
    STRIDE,
    Batch,
    Labels,
    Outputs,
    PointBatch,
    Points,
    Round,
    class_set,
    pixel_grid,
)

Balance = Literal["group", "pairs"]
Trust = Literal["margin", "one"]
Classes = Literal["all", "image"]
Background = Literal["group", "apart", "unpaired"]
Target = Literal["first", "round"]

PROBABILITY_FLOOR = 1e-3
"""Share of the uniform distribution mixed into probabilities before their logarithm is taken: a
clamp would stop the gradient exactly where it is needed."""


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


def log_of_probabilities(probabilities: Tensor) -> Tensor:
    """Logarithm of `[B, C+1, H, W]` probabilities, each image's over the classes it has."""
    present = probabilities.amax((2, 3), keepdim=True) > 0
    uniform = present / present.sum(1, keepdim=True)
    mixed = (1 - PROBABILITY_FLOOR) * probabilities + PROBABILITY_FLOOR * uniform
    return mixed.clamp(min=torch.finfo(mixed.dtype).tiny).log()


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


def offset_loss(offset: Tensor, instances: Tensor, weight: Tensor, points: list[Points]) -> Tensor:
    """Weighted smooth L1 of the offsets over the labelled pixels. Paper: Eq. 3.

    Args:
        offset: `[B, 2, H, W]` pixels.
        instances: `[B, H, W]` int64.
        weight: `[B, H, W]` float32, W of Eq. 3.
        points: of the B images.

    Returns:
        `[]`, mean over the images with instances; 0 when there is none.
    """
    targets = offset_targets(instances, points)
    loss = F.smooth_l1_loss(offset, targets, reduction="none").sum(1) * weight
    labelled = instances > 0
    pixels = labelled.sum((1, 2))
    means = (loss * labelled).sum((1, 2)) / pixels.clamp(min=1)
    return means.sum() / shared_count((pixels > 0).sum())


def pair_coefficients(
    size: Tensor,
    label: Tensor,
    balance: Balance,
    same_class: float,
    background: Background = "group",
) -> tuple[Tensor, Tensor]:
    """What a pair of pixels of each two groups counts in Eq. 5.

    Args:
        size: `[..., G]` int64, pixels of each group, the background's first.
        label: `[..., G]` int64, class of each group.
        balance: `pairs`: every positive pair counts alike, and every negative one (Eq. 5 as it
            is written). `group`: every group counts alike, by the mean over its own pairs.
        same_class: weight of a negative pair of one class beside one of two classes.
        background: two background pixels are a positive pair (`group`), a negative one (`apart`),
            or no pair (`unpaired`).

    Returns:
        `[..., G, G]` float64 coefficients of the positive pairs (its diagonal) and of the negative
        ones.
    """
    present = size > 0
    n = size.double()
    pairs = n[..., :, None] * n[..., None, :]
    own = torch.eye(size.shape[-1], dtype=torch.bool, device=size.device)
    weight = torch.where(label[..., :, None] == label[..., None, :], same_class, 1.0).double()
    weight = weight.masked_fill(own, 0.0)
    if background != "group":
        own[0, 0] = False
        present = F.pad(present[..., 1:], (1, 0))
        weight[..., 0, 0] = background == "apart"
    if balance == "pairs":
        positive = own / (pairs * own).sum((-2, -1), keepdim=True).clamp(min=1)
        negative = weight / (weight * pairs).sum((-2, -1), keepdim=True).clamp(min=1e-9)
        return positive, negative
    positive = own / pairs.clamp(min=1) / present.sum(-1).clamp(min=1)[..., None, None]
    total = (weight * pairs).sum(-1, keepdim=True)
    groups = (total > 0).sum((-2, -1), keepdim=True).clamp(min=1)
    return positive, weight / total.clamp(min=1e-9) / groups


def affinity_loss(
    factors: Factors,
    groups: Tensor,
    labels: Tensor,
    *,
    balance: Balance = "group",
    same_class: float = 4.0,
    background: Background = "group",
    way: Way = "auto",
) -> Tensor:
    """Affinities of pairs in one group up, of others down. Paper: Eq. 5.

    The label's own sigmoid in Eq. 5 is a constant and left out.

    Args:
        factors: of the affinity logit.
        groups: `[B, R, N]` int64 of R rounds: 0 background, k + 1 instances, -1 in no pair.
        labels: `[B, G]` int64, the class of every group, background's is 0.
        balance: `group` or `pairs`.
        same_class: weight of same-class negatives.
        background: what two background pixels are, see `pair_coefficients`.
        way: of the affinity operators.

    Returns:
        `[]` float32 in 0..2: mean over the images that have a pair, then over the rounds.
    """
    images, rounds, _ = groups.shape
    size = labels.new_zeros(images, rounds, labels.shape[1] + 1)
    size.scatter_add_(2, groups + 1, torch.ones_like(groups))
    size = size[:, :, 1:]
    positive, negative = pair_coefficients(size, labels[:, None], balance, same_class, background)
    some = (size.sum(2) > 0).double()
    share = some / shared_count(some.sum(0)) / rounds
    pairs = size[..., :, None].double() * size[..., None, :].double()
    constant = ((positive * pairs).sum((2, 3)) * share).sum().float()
    weight = (negative - positive) * share[..., None, None]
    # with no pair at all it is 0, and every parameter still in the graph, as DDP needs
    return constant + pair_sum(factors, Pairs(groups, weight.float()), way).sum()


def label_losses(
    outputs: Outputs,
    rounds: list[Round],
    batch: Batch,
    *,
    hard_pixel_ratio: float,
    offset_weight: Trust,
    classes: Classes = "all",
    target: Target = "first",
    refined: bool = True,
) -> tuple[Tensor, Tensor]:
    """Eqs. 4 and 3 of a batch, each averaged over the rounds.

    Args:
        outputs: of the network on the batch.
        rounds: the seed first.
        batch: the batch.
        hard_pixel_ratio: share of the pixels Eq. 4 looks at.
        offset_weight: `margin` trusts pixels by the labels' weight; `one` trusts all alike.
        classes: that class logits compete with in Eq. 4: `all`, or an `image`'s own and background.
        target: of Eq. 4 in each round: the `first` map, or the map that the `round` starts from.
        refined: whether the maps `S_t` have a loss too, against the first map.

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
    for r in rounds[1:]:
        if target == "round":
            later = r.labels.semantic.masked_fill(given == IGNORED, IGNORED)
            later = segmentation_target(later, batch.points)
            segmentation.append(segmentation_loss(own, later, hard_pixel_ratio))
        if refined and r.semantic is not None:
            log_map = log_of_probabilities(_at_input_size(r.semantic, size))
            segmentation.append(segmentation_loss(log_map, given, hard_pixel_ratio))
    offsets = []
    for r in rounds:
        weight = r.labels.weight if offset_weight == "margin" else r.labels.weight * 0 + 1
        offsets.append(offset_loss(offset, r.labels.instances, weight, batch.points))
    return torch.stack(segmentation).mean(), torch.stack(offsets).mean()


@dataclass(frozen=True)
class P2SegLoss:
    """Weights and choices of the whole objective; it keeps nothing between calls.

    Attributes:
        segmentation: weight of Eq. 4.
        offset: weight of Eq. 3.
        affinity: weight of Eq. 5.
        hard_pixel_ratio: share of the pixels Eq. 4 looks at.
        offset_weight: `margin` trusts pixels by the labels' weight; `one` trusts all alike.
        balance: of the pairs of Eq. 5.
        same_class: weight of same-class negatives in Eq. 5.
        min_weight: pixels whose label is trusted less are in no pair of Eq. 5.
        classes: that class logits compete with in Eq. 4: `all` (the paper's), or an `image`'s own
            and background, as at export: sooner learned where images are few and classes many.
        background: what two background pixels are in Eq. 5, see `pair_coefficients`.
        target: of Eq. 4 in each round, see `label_losses`.
        refined: whether the maps `S_t` have a loss too.
    """

    segmentation: float = 1.0
    offset: float = 0.01
    affinity: float = 1.0
    hard_pixel_ratio: float = 0.2
    offset_weight: Trust = "margin"
    balance: Balance = "group"
    same_class: float = 4.0
    min_weight: float = 0.4
    classes: Classes = "all"
    background: Background = "group"
    target: Target = "first"
    refined: bool = True

    def __post_init__(self) -> None:
        if not 0 < self.hard_pixel_ratio <= 1:
            raise UserError(
                f"loss.hard_pixel_ratio={self.hard_pixel_ratio}; it must be above 0 and at most 1"
            )

    def __call__(
        self,
        outputs: Outputs,
        rounds: list[Round],
        batch: Batch,
        factors: Factors,
        way: Way = "auto",
    ) -> dict[str, Tensor]:
        """The weighted losses, each averaged over the rounds.

        Args:
            outputs: of the network on the batch.
            rounds: of MDM, the seed first.
            batch: the batch.
            factors: of the affinity logit.
            way: of the affinity operators, which changes no result.

        Returns:
            `segmentation`, `offset` and `affinity`, each `[]`; the objective is their sum.
        """
        segmentation, offset = label_losses(
            outputs,
            rounds,
            batch,
            hard_pixel_ratio=self.hard_pixel_ratio,
            offset_weight=self.offset_weight,
            classes=self.classes,
            target=self.target,
            refined=self.refined,
        )
        groups = [pixel_groups(r.labels, self.min_weight).flatten(1) for r in rounds]
        labels = F.pad(PointBatch.of(batch.points, segmentation.device).labels, (1, 0))
        affinity = affinity_loss(
            factors,
            torch.stack(groups, 1),
            labels,
            balance=self.balance,
            same_class=self.same_class,
            background=self.background,
            way=way,
        )
        return {
            "segmentation": self.segmentation * segmentation,
            "offset": self.offset * offset,
            "affinity": self.affinity * affinity,
        }


def pixel_groups(labels: Labels, min_weight: float) -> Tensor:
    """The group of every pixel of the stride-4 grid in Eq. 5.

    Args:
        labels: of `[B, H, W]`, H and W multiples of 4.
        min_weight: an instance label trusted less is in no pair.

    Returns:
        `[B, h, w]` int64: 0 background, k + 1 instances, -1 in no pair (ignored, without an
        instance, or not trusted).
    """
    at = (..., slice(STRIDE // 2, None, STRIDE), slice(STRIDE // 2, None, STRIDE))
    semantic, instances, weight = labels.semantic[at], labels.instances[at], labels.weight[at]
    sure = (instances > 0) & (weight >= min_weight)
    groups = torch.where(sure, instances, -1)
    return torch.where((semantic == 0) & (instances == 0), 0, groups)


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
