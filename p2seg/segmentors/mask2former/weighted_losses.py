"""The heads of transformers' Mask2Former, and its losses with instance weights.

Cheng et al. 2022, Masked-attention Mask Transformer for Universal Image Segmentation. `weights` and
`mask_weights` of a target (see `InstanceTarget`) scale the losses of the query matched to it. An
instance with weight 0 is matched like any other, but its query has no class loss. Importing this
module needs transformers; importing `model` does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import Mask2FormerConfig
from transformers.models.mask2former.modeling_mask2former import (
    Mask2FormerLoss,
    Mask2FormerPixelDecoder,
    Mask2FormerPreTrainedModel,
    Mask2FormerTransformerModule,
    sample_point,
)

from p2seg.runtime.ranks import shared_count

Layer = tuple[Tensor, Tensor]
"""The predictions of a decoder layer with Q queries: class logits `[B, Q, C + 1]`, of which the
last is "no object", and mask logits `[B, Q, h, w]`."""


@dataclass(frozen=True)
class QueryTarget:
    """The K >= 0 instances of one padded image.

    Attributes:
        labels: `[K]` int64, classes 0..C-1.
        masks: `[K, H, W]` uint8, masks of the padded image.
        weights: `[K]` float32, weight in the class loss.
        mask_weights: `[K]` float32, weight in the mask losses.
    """

    labels: Tensor
    masks: Tensor
    weights: Tensor
    mask_weights: Tensor


def config_of(num_classes: int, **sizes: Any) -> Mask2FormerConfig:
    """A configuration of transformers for C classes; its default backbone is never built."""
    return Mask2FormerConfig(num_labels=num_classes, **sizes)


class Heads(Mask2FormerPreTrainedModel):
    """Pixel decoder, transformer decoder and class head, with random weights.

    transformers initializes the pixel decoder's convolutions and the class head with standard
    deviation 0.02. They learn several times faster with the initialization of their layers here.

    Args:
        config: the configuration.
        channels: channels of the backbone's four feature maps, finest first.
    """

    def __init__(self, config: Mask2FormerConfig, channels: Sequence[int]) -> None:
        super().__init__(config)
        self.pixel_decoder = Mask2FormerPixelDecoder(config, feature_channels=list(channels))
        self.transformer_module = Mask2FormerTransformerModule(config.feature_size, config)
        self.class_predictor = nn.Linear(config.hidden_dim, config.num_labels + 1)
        self.post_init()
        for module in self.pixel_decoder.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_uniform_(module.weight, a=1)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for layer in self.pixel_decoder.encoder.layers:
            for linear in (layer.fc1, layer.fc2):
                nn.init.xavier_uniform_(linear.weight)
        self.class_predictor.reset_parameters()

    def forward(self, features: list[Tensor]) -> list[Layer]:
        """The predictions of each layer from feature maps; the first are of the learned queries."""
        pixels = self.pixel_decoder(features)
        decoded = self.transformer_module(pixels.multi_scale_features, pixels.mask_features)
        return [
            (self.class_predictor(hidden.transpose(0, 1)), masks)
            for hidden, masks in zip(
                decoded.intermediate_hidden_states, decoded.masks_queries_logits, strict=True
            )
        ]


class WeightedLoss(Mask2FormerLoss):
    """transformers' loss with instance weights; equal to it if all weights are 1.

    Args:
        config: the configuration with the weights of the losses.
    """

    def __init__(self, config: Mask2FormerConfig) -> None:
        factors = (config.class_weight, config.mask_weight, config.dice_weight)
        super().__init__(
            config, dict(zip(("loss_class", "loss_mask", "loss_dice"), factors, strict=True))
        )

    def forward(self, layers: Sequence[Layer], targets: Sequence[QueryTarget]) -> dict[str, Tensor]:
        """The weighted losses, summed over the layers.

        Args:
            layers: returned by `Heads`.
            targets: targets of the B images.

        Returns:
            `loss_class`, `loss_mask` and `loss_dice`, each `[]`.
        """
        # The order is that of transformers, for the same random points.
        each = torch.stack([self._layer(one, targets) for one in (layers[-1], *layers[:-1])])
        return {
            name: factor * loss
            for (name, factor), loss in zip(self.weight_dict.items(), each.sum(0), strict=True)
        }

    def _layer(self, layer: Layer, targets: Sequence[QueryTarget]) -> Tensor:
        """The class loss, mask loss and dice loss `[3]` of one layer."""
        classes, masks = (each.float() for each in layer)
        matched = self.matcher(
            masks, classes, [t.masks for t in targets], [t.labels for t in targets]
        )
        return torch.stack(
            [
                self._class_loss(classes, targets, matched),
                *self._mask_losses(masks, targets, matched),
            ]
        )

    def _class_loss(
        self,
        logits: Tensor,
        targets: Sequence[QueryTarget],
        matched: Sequence[tuple[Tensor, Tensor]],
    ) -> Tensor:
        """Cross entropy over all queries except those matched to instances with weight 0."""
        truth = torch.full(logits.shape[:2], self.num_labels, device=logits.device)
        weights = torch.ones_like(truth, dtype=logits.dtype)
        for b, (target, (queries, own)) in enumerate(zip(targets, matched, strict=True)):
            truth[b, queries] = target.labels[own]
            weights[b, queries] = target.weights[own]
        each = F.cross_entropy(
            logits.transpose(1, 2), truth, weight=self.empty_weight, reduction="none"
        )
        counted = self.empty_weight[truth] * (weights > 0)
        loss: Tensor = (each * weights).sum() / shared_count(counted.sum(), self.eos_coef)
        return loss

    def _mask_losses(
        self,
        logits: Tensor,
        targets: Sequence[QueryTarget],
        matched: Sequence[tuple[Tensor, Tensor]],
    ) -> tuple[Tensor, Tensor]:
        """Cross entropy and dice loss at sampled points, over instances with mask weight > 0."""
        selected, owners, weights = [], [], []
        for own, target, (queries, index) in zip(logits, targets, matched, strict=True):
            kept = target.mask_weights.cpu()[index] > 0
            selected.append(own[queries[kept]])
            owners.append(index[kept])
            weights.append(target.mask_weights[index[kept]])
        predicted, weight = torch.cat(selected)[:, None], torch.cat(weights)
        with torch.no_grad():
            points = self.sample_points_using_uncertainty(
                predicted,
                self.calculate_uncertainty,
                self.num_points,
                self.oversample_ratio,
                self.importance_sample_ratio,
            )
            parts = points.split([len(index) for index in owners])
            truth = torch.cat(
                [  # image by image to save memory
                    _at(target.masks[index][:, None].to(predicted), part)
                    for target, index, part in zip(targets, owners, parts, strict=True)
                ]
            )
        sampled = _at(predicted, points)
        entropy = F.binary_cross_entropy_with_logits(sampled, truth, reduction="none").mean(1)
        chance = sampled.sigmoid()
        dice = 1 - (2 * (chance * truth).sum(1) + 1) / (chance.sum(1) + truth.sum(1) + 1)
        count = shared_count(torch.stack([(t.mask_weights > 0).sum() for t in targets]).sum())
        return (entropy * weight).sum() / count, (dice * weight).sum() / count


def _at(masks: Tensor, points: Tensor) -> Tensor:
    """Samples masks `[K, 1, H, W]` at points `[K, P, 2]`, (x, y) in 0..1; returns `[K, P]`."""
    return cast(Tensor, sample_point(masks, points, align_corners=False))[:, 0]
