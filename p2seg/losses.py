"""The losses of Eqs. 3 to 5 and their sum over the rounds. Pure functions of tensors.

Paper: Sec. 3.3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from p2seg.errors import UserError
from p2seg.ops.affinity import pair_sums
from p2seg.structures import IGNORED, STRIDE, Batch, Labels, Outputs, Points, Round

Balance = Literal["group", "pairs"]

PROBABILITY_FLOOR = 1e-3
"""Share of the uniform distribution mixed into probabilities before their logarithm is taken: a
clamp would stop the gradient exactly where it is needed."""


def hardest_mean(losses: Tensor, valid: Tensor, ratio: float) -> Tensor:
    """Mean over the hardest pixels of each image, then over the images that have any.

    Args:
        losses: `[B, H, W]` float32.
        valid: `[B, H, W]` bool.
        ratio: share of an image's valid pixels that is taken, at least one pixel.

    Returns:
        `[]`, 0 when no image has a valid pixel.
    """
    means = []
    for loss, keep in zip(losses, valid, strict=True):
        own = loss[keep]
        if len(own):
            count = max(1, int(ratio * len(own)))
            means.append(own.topk(count, sorted=False).values.mean())
    return torch.stack(means).mean() if means else losses.sum() * 0


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


def offset_targets(instances: Tensor, points: Points) -> Tensor:
    """Offsets from every pixel to its point. Paper: Eq. 2.

    Args:
        instances: `[H, W]` int64, 0 none, k + 1 the k-th point.
        points: of the image.

    Returns:
        `[2, H, W]` float32 (dy, dx); 0 where there is no instance.
    """
    height, width = instances.shape
    y = torch.arange(height, device=instances.device)
    x = torch.arange(width, device=instances.device)
    grid = torch.stack(torch.meshgrid(y, x, indexing="ij")).float()
    here = torch.zeros(1, 2, device=instances.device)
    goal = torch.cat([here, points.yx.to(instances.device)])[instances].movedim(-1, 0)
    return (goal - grid) * (instances > 0)


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
    means = []
    for o, i, w, p in zip(offset, instances, weight, points, strict=True):
        labelled = i > 0
        if labelled.any():
            loss = F.smooth_l1_loss(o, offset_targets(i, p), reduction="none").sum(0)
            means.append((w * loss)[labelled].mean())
    return torch.stack(means).mean() if means else offset.sum() * 0


def pair_coefficients(
    size: Tensor, label: Tensor, balance: Balance, same_class: float
) -> tuple[Tensor, Tensor]:
    """What a pair of pixels of each two groups counts in Eq. 5.

    Args:
        size: `[G]` int64, pixels of each group.
        label: `[G]` int64, class of each group.
        balance: `pairs`: every positive pair counts alike, and every negative one (Eq. 5 as it
            is written). `group`: every group counts alike, by the mean over its own pairs.
        same_class: weight of a negative pair of one class beside one of two classes.

    Returns:
        `[G, G]` float64 coefficients of the positive pairs (its diagonal) and of the negative ones.
    """
    present = size > 0
    n = size.double()
    pairs = n[:, None] * n[None, :]
    own = torch.eye(len(size), dtype=torch.bool, device=size.device)
    weight = torch.where(label[:, None] == label[None, :], same_class, 1.0).double()
    weight = weight.masked_fill(own, 0.0)
    if balance == "pairs":
        positive = own.double() / pairs[own].sum().clamp(min=1)
        negative = weight / (weight * pairs).sum().clamp(min=1e-9)
        return positive, negative
    positive = own.double() / pairs.clamp(min=1) / present.sum().clamp(min=1)
    total = (weight * pairs).sum(1, keepdim=True)
    negative = weight / total.clamp(min=1e-9) / (total > 0).sum().clamp(min=1)
    return positive, negative


def affinity_loss(
    left: Tensor,
    right: Tensor,
    bias: Tensor,
    groups: Tensor,
    labels: Tensor,
    *,
    balance: Balance = "group",
    same_class: float = 4.0,
) -> Tensor:
    """Affinities of pairs in one group up, of others down, on one image. Paper: Eq. 5.

    The label's own sigmoid in Eq. 5 is a constant and left out.

    Args:
        left: `[N, D]`, with `right` the factors of the affinity logit.
        right: `[N, D]`.
        bias: `[]`.
        groups: `[N]` int64, 0 background, k + 1 instances, -1 in no pair.
        labels: `[G]` int64, the class of every group, background's is 0.
        balance: `group` or `pairs`.
        same_class: weight of same-class negatives.

    Returns:
        `[]` float32 in 0..2.
    """
    count = len(labels)
    size = torch.bincount(groups[groups >= 0], minlength=count)
    positive, negative = pair_coefficients(size, labels, balance, same_class)
    sums = pair_sums(left, right, bias, groups, count)
    pairs = size[:, None].double() * size[None, :].double()
    constant = (positive * pairs).sum().float()
    return constant + ((negative - positive).float() * sums).sum()


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
        border: pixels on each side of a border of the first map that Eq. 4 leaves out.
    """

    segmentation: float = 1.0
    offset: float = 0.01
    affinity: float = 1.0
    hard_pixel_ratio: float = 0.2
    offset_weight: Literal["margin", "one"] = "margin"
    balance: Balance = "group"
    same_class: float = 4.0
    min_weight: float = 0.4
    border: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.hard_pixel_ratio <= 1:
            raise UserError(
                f"loss.hard_pixel_ratio={self.hard_pixel_ratio}; it must be above 0 and at most 1"
            )

    def __call__(
        self, outputs: Outputs, rounds: list[Round], batch: Batch, factors: tuple[Tensor, Tensor]
    ) -> dict[str, Tensor]:
        """The weighted losses, each averaged over the rounds.

        Args:
            outputs: of the network on the batch.
            rounds: of MDM, the seed first.
            batch: the batch.
            factors: left and right factors of the affinity logit, `[B, h w, D]`.

        Returns:
            `segmentation`, `offset` and `affinity`, each `[]`; the objective is their sum.
        """
        size = batch.labels.semantic.shape[1:]
        target = segmentation_target(batch.labels.semantic, batch.points, self.border)
        offset = _at_input_size(outputs.offset, size)
        logits = _at_input_size(outputs.class_logits, size)
        log_maps = [F.log_softmax(logits, 1)]
        log_maps += [
            log_of_probabilities(_at_input_size(r.semantic, size))
            for r in rounds
            if r.semantic is not None
        ]
        losses = {
            "segmentation": [
                self.segmentation * segmentation_loss(m, target, self.hard_pixel_ratio)
                for m in log_maps
            ],
            "offset": [
                self.offset * offset_loss(offset, r.labels.instances, self._trust(r), batch.points)
                for r in rounds
            ],
            "affinity": [
                self.affinity * self._affinity(factors, outputs.affinity_bias, r.labels, batch)
                for r in rounds
            ],
        }
        return {name: torch.stack(each).mean() for name, each in losses.items()}

    def _trust(self, r: Round) -> Tensor:
        return r.labels.weight if self.offset_weight == "margin" else r.labels.weight * 0 + 1

    def _affinity(
        self, factors: tuple[Tensor, Tensor], bias: Tensor, labels: Labels, batch: Batch
    ) -> Tensor:
        groups = pixel_groups(labels, self.min_weight).flatten(1)
        losses = []
        for left, right, own, points in zip(*factors, groups, batch.points, strict=True):
            if (own >= 0).any():
                classes = F.pad(points.labels.to(own.device), (1, 0))
                losses.append(
                    affinity_loss(
                        left,
                        right,
                        bias,
                        own,
                        classes,
                        balance=self.balance,
                        same_class=self.same_class,
                    )
                )
        # every parameter in the graph, or DistributedDataParallel would wait for its gradient
        return torch.stack(losses).mean() if losses else (factors[0].sum() + bias) * 0


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


def segmentation_target(semantic: Tensor, points: list[Points], border: int) -> Tensor:
    """The first map with every point's pixel in its class, and uncertain borders ignored.

    Args:
        semantic: `[B, H, W]` int64.
        points: of the B images.
        border: pixels on each side of a border between labels that become 255.
    """
    target = semantic.clone()
    if border > 0:
        side = 2 * border + 1
        known = semantic[:, None].float()
        top = F.max_pool2d(known, side, 1, border)
        bottom = -F.max_pool2d(-known, side, 1, border)
        target[(top != bottom)[:, 0]] = IGNORED
    for b, p in enumerate(points):
        inside = p.inside(*semantic.shape[1:])
        y, x = p.pixels[inside].unbind(1)
        target[b, y, x] = p.labels[inside]
    return target


def _at_input_size(grid: Tensor, size: torch.Size) -> Tensor:
    return F.interpolate(grid.float(), size, mode="bilinear", align_corners=False)
