"""The two stages of torchvision's Mask R-CNN with instance weights in their losses.

`weights` and `mask_weights` of a target (see `InstanceTarget`) scale the losses of the proposals
matched to it. An instance with weight 0 is ignored: it is neither object nor background.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.models.detection import roi_heads
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead
from torchvision.ops import box_iou

Target = dict[str, Tensor]
"""An `InstanceTarget` as a dictionary for torchvision, with float boxes."""

Results = tuple[list[dict[str, Tensor]], dict[str, Tensor]]
"""Detections of every image, and losses by name; one of the two is empty."""


class ProposalHead(RPNHead):
    """torchvision's head with float32 outputs; bfloat16 would round boxes to 2 to 8 pixels."""

    def forward(self, levels: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Objectness logits and box deltas of the anchors of each level."""
        logits, changes = super().forward(levels)
        return [each.float() for each in logits], [each.float() for each in changes]


class ProposalNetwork(RegionProposalNetwork):
    """torchvision's proposal network, which ignores anchors on instances with weight 0."""

    def assign_targets_to_anchors(
        self, anchors: list[Tensor], targets: list[Target]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Labels (1 object, 0 background, -1 ignored) and boxes of the anchors of each image."""
        counted = [{"boxes": each["boxes"][each["weights"] > 0]} for each in targets]
        labels, boxes = super().assign_targets_to_anchors(anchors, counted)
        for own, label, target in zip(anchors, labels, targets, strict=True):
            ignored = target["boxes"][target["weights"] == 0]
            if len(ignored):
                near = box_iou(ignored, own).amax(0) >= self.proposal_matcher.low_threshold
                label[near & (label == 0)] = -1
        return labels, boxes


class RoIHeads(roi_heads.RoIHeads):
    """torchvision's RoI heads with instance weights in training; prediction is unchanged."""

    def forward(
        self,
        features: dict[str, Tensor],
        proposals: list[Tensor],
        image_shapes: list[tuple[int, int]],
        targets: list[Target] | None = None,
    ) -> Results:
        """Detections of each image, or in training the three losses by name."""
        if not self.training or targets is None:
            return cast(Results, super().forward(features, proposals, image_shapes, targets))
        # torchvision's sampler ignores proposals with label -1.
        ignoring = [{**t, "labels": t["labels"].where(t["weights"] > 0, -1)} for t in targets]
        proposals, matched, labels, deltas = self.select_training_samples(proposals, ignoring)
        weights = [
            _weights_of(t["weights"], index) for t, index in zip(targets, matched, strict=True)
        ]
        crops = self.box_roi_pool(features, proposals, image_shapes)
        logits, regressed = self.box_predictor(self.box_head(crops))
        losses = box_losses(
            logits, regressed, torch.cat(labels), torch.cat(deltas), torch.cat(weights)
        )
        losses["loss_mask"] = self._mask_loss(
            features, proposals, image_shapes, targets, matched, labels
        )
        return [], losses

    def _mask_loss(
        self,
        features: dict[str, Tensor],
        proposals: list[Tensor],
        image_shapes: list[tuple[int, int]],
        targets: list[Target],
        matched: list[Tensor],
        labels: list[Tensor],
    ) -> Tensor:
        """The mask loss over the proposals matched to instances with mask weight > 0."""
        boxes, owners, classes, weights = [], [], [], []
        for own, index, label, target in zip(proposals, matched, labels, targets, strict=True):
            weight = _weights_of(target["mask_weights"], index)
            kept = (label > 0) & (weight > 0)
            boxes.append(own[kept])
            owners.append(index[kept])
            classes.append(label[kept])
            weights.append(weight[kept])
        logits = self.mask_predictor(
            self.mask_head(self.mask_roi_pool(features, boxes, image_shapes))
        )
        cells = logits.shape[-1]
        truth = torch.cat(
            [
                roi_heads.project_masks_on_boxes(target["masks"], box, owner, cells)
                for target, box, owner in zip(targets, boxes, owners, strict=True)
            ]
        )
        return mask_loss(logits, torch.cat(classes), truth, torch.cat(weights))


def box_losses(
    logits: Tensor, regressed: Tensor, labels: Tensor, deltas: Tensor, weights: Tensor
) -> dict[str, Tensor]:
    """Cross entropy and smooth L1 over the sampled proposals, with their weights.

    Args:
        logits: `[P, C + 1]`.
        regressed: `[P, 4 (C + 1)]`, predicted box deltas for each class.
        labels: `[P]` int64, 0 for background.
        deltas: `[P, 4]`, target box deltas.
        weights: `[P]`, weight of the matched instance; background has weight 1.

    Returns:
        `loss_classifier` and `loss_box_reg`, each `[]`, divided by the number of proposals.
    """
    objects = (labels > 0).nonzero()[:, 0]
    weights = weights.where(labels > 0, 1.0)
    each = F.cross_entropy(logits, labels, reduction="none")
    own = regressed.unflatten(1, (-1, 4))[objects, labels[objects]]
    box_loss = F.smooth_l1_loss(own, deltas[objects], beta=1 / 9, reduction="none").sum(1)
    count = max(1, len(labels))
    return {
        "loss_classifier": (each * weights).sum() / count,
        "loss_box_reg": (box_loss * weights[objects]).sum() / count,
    }


def mask_loss(logits: Tensor, labels: Tensor, truth: Tensor, weights: Tensor) -> Tensor:
    """Binary cross entropy of the masks of proposals, each in the channel of its class.

    Args:
        logits: `[P, C + 1, M, M]`.
        labels: `[P]` int64, 1..C.
        truth: `[P, M, M]` in 0..1, target masks.
        weights: `[P]`, mask weights of the matched instances.

    Returns:
        `[]`: the mean over pixels of the weighted mean over proposals; 0 without any.
    """
    if len(labels) == 0:
        return logits.sum() * 0
    own = logits[torch.arange(len(labels), device=labels.device), labels]
    each = F.binary_cross_entropy_with_logits(own, truth.to(own.dtype), reduction="none")
    return (each.flatten(1).mean(1) * weights).mean()


def _weights_of(weights: Tensor, index: Tensor) -> Tensor:
    """The weights of matched instances; 1 if the image has no instance."""
    return weights[index] if len(weights) else torch.ones_like(index, dtype=torch.float32)
