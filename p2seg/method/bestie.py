"""BESTIE, the baseline of the paper's tables (Kim et al., CVPR 2022): all that is its own.

The rules and numbers are those of the authors' code with point labels. The network predicts class
logits, offsets and one heatmap per class. A region of the initial semantic map with exactly one
click makes the first labels; the network's own offsets make refined labels from the first step on.
docs/explanation/method.md lists what differs from the authors' code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from p2seg.errors import UserError
from p2seg.method.grid import upsample
from p2seg.method.losses import offset_targets, segmentation_loss
from p2seg.method.s2i import Decode
from p2seg.models.backbones import Backbone
from p2seg.models.network import DecoderKind, Trunk
from p2seg.models.norms import Norm
from p2seg.ops.owners import owners
from p2seg.runtime.ranks import shared_count
from p2seg.structures import (
    IGNORED,
    LABELS,
    Batch,
    Labels,
    Outputs,
    PointBatch,
    Points,
    pixel_grid,
)


class BestieNetwork(Trunk):
    """Class logits, offsets and one heatmap of clicks per class at stride 4.

    Args:
        backbone: feature maps at strides 4 to 32.
        num_classes: C, without background.
        decoder: see `Trunk`.
        width: see `Trunk`.
        dilations: of the decoders' ASPP.
        norm: `batch`, `group` or `frozen`, see `Trunk.set_norms`.
        detail: see `Trunk`.
    """

    def __init__(
        self,
        backbone: Backbone,
        num_classes: int,
        *,
        decoder: DecoderKind = "panoptic",
        width: int = 256,
        dilations: Sequence[int] = (3, 6, 9),
        norm: Norm = "batch",
        detail: int = 0,
    ) -> None:
        super().__init__(backbone, num_classes, decoder, width, dilations, detail)
        self.center_head = self.head(num_classes)
        self.set_norms(norm)

    def forward(self, images: Tensor) -> Outputs:
        """Runs the network; images and sizes are those of `Trunk.see`."""
        outputs, instance = self.see(images)
        h, w = outputs.offset.shape[2:]
        return outputs._replace(center=self.center_head(instance)[..., :h, :w].float())


def first_labels(seed: Labels, count: int, min_region: int) -> Labels:
    """The seed without small regions; every label counts alike.

    Args:
        seed: of `[B, H, W]`, made with `mdm.conflict=semantic_first`: each instance is a region.
        count: the most points of an image.
        min_region: pixels; a smaller region makes no label.
    """
    flat = seed.instances.flatten(1)
    area = flat.new_zeros(len(flat), count + 1).scatter_add_(1, flat, torch.ones_like(flat))
    small = area.gather(1, flat).view_as(seed.instances) < min_region
    instances = seed.instances.masked_fill(small, 0)
    return Labels(seed.semantic, instances)


@torch.no_grad()
def refined_labels(outputs: Outputs, batch: Batch) -> Labels:
    """Every pixel of a clicked class goes to the click of its class that it points to.

    That is the smallest `|m + O(m) - e_k|`, also in regions with one click or none.

    Args:
        outputs: of the network on the batch.
        batch: its initial semantic map and points.

    Returns:
        Labels of `[B, H, W]`.
    """
    semantic = batch.labels.semantic
    classes = semantic.masked_fill(semantic == IGNORED, 0).int()
    clicks = PointBatch.of(batch.points, semantic.device)
    keys = torch.arange(LABELS, device=semantic.device).expand(len(semantic), -1)
    offset = upsample(outputs.offset, semantic.shape[1:])
    instances = owners(classes, torch.zeros_like(keys), keys, clicks.yx, clicks.labels, offset)
    return Labels(semantic, instances)


def centroid_targets(instances: Tensor, count: int) -> Tensor:
    """Offsets from every pixel to the centroid of its instance.

    Args:
        instances: `[B, H, W]` int64.
        count: the most points of an image.

    Returns:
        `[B, 2, H, W]` float32 (dy, dx), without meaning where there is no instance.
    """
    grid = pixel_grid(instances)
    means = [_mean_over_masks(axis.expand(instances.shape), instances, count) for axis in grid]
    return torch.stack(means, 1) - grid


def _mean_over_masks(values: Tensor, instances: Tensor, count: int) -> Tensor:
    """`[B, H, W]` values, each replaced by the mean over its instance, 0 without an instance."""
    flat = instances.flatten(1)
    total = values.new_zeros(len(values), count + 1).scatter_add_(1, flat, values.flatten(1))
    area = torch.zeros_like(total).scatter_add_(1, flat, torch.ones_like(values).flatten(1))
    mean = total / area.clamp(min=1)
    mean[:, 0] = 0
    return mean.gather(1, flat).view_as(values)


def center_targets(
    points: list[Points], num_classes: int, size: tuple[int, int], sigma: float
) -> Tensor:
    """One heatmap per class: the largest of the Gaussians of height 1 around its clicks.

    A Gaussian ends 3 sigma + 1 pixels from its click. A click outside the map has none.

    Args:
        points: of B images.
        num_classes: C.
        size: (H, W).
        sigma: pixels.

    Returns:
        `[B, C, H, W]` float32 on the device of the points.
    """
    device = points[0].yx.device
    clicks = PointBatch.of(points, device)
    profiles = []
    for axis, length in enumerate(size):
        away = torch.arange(length, device=device) - clicks.pixels[:, :, axis, None]
        near = away.abs() <= 3 * sigma + 1
        profiles.append(torch.exp(-(away**2) / (2 * sigma**2)) * near)
    down, across = profiles
    down = down * clicks.inside(*size)[:, :, None]
    heat = torch.zeros(len(points), num_classes, *size, device=device)
    image = torch.arange(len(points), device=device)
    for k, label in enumerate(clicks.labels.unbind(1)):
        at = image, (label - 1).clamp(min=0)
        heat[at] = heat[at].maximum(down[:, k, :, None] * across[:, k, None, :])
    return heat


@dataclass(frozen=True)
class BestieLoss:
    """The weighted losses of BESTIE.

    Attributes:
        segmentation: weight of the cross entropy.
        offset: weight of the offsets' absolute error.
        center: weight of the heatmaps' squared error.
        sigma: of the heatmaps' Gaussians, input pixels.
        hard_pixel_ratio: share of an image's pixels, the hardest ones, in the cross entropy.
    """

    segmentation: float = 1.0
    offset: float = 0.01
    center: float = 200.0
    sigma: float = 6.0
    hard_pixel_ratio: float = 0.2

    def __post_init__(self) -> None:
        if not 0 < self.hard_pixel_ratio <= 1 or self.sigma <= 0:
            raise UserError(
                f"loss.hard_pixel_ratio={self.hard_pixel_ratio} loss.sigma={self.sigma}; the "
                "ratio must be above 0 and at most 1, sigma above 0"
            )

    def __call__(self, outputs: Outputs, labels: list[Labels], batch: Batch) -> dict[str, Tensor]:
        """The weighted losses.

        Offsets of the first labels point to the centroid of the region, those of the refined labels
        to the click. Heatmaps are only compared at pixels with a first label, for a missing
        instance must not become background.

        Args:
            outputs: of a `BestieNetwork` on the batch.
            labels: the first labels and the refined ones.
            batch: the batch.

        Returns:
            `segmentation`, `offset` and `center`, each `[]`; the objective is their sum.
        """
        assert outputs.center is not None
        first, refined = (each.instances for each in labels)
        size = first.shape[1], first.shape[2]
        logits = outputs.detailed_logits
        if logits is None:
            logits = upsample(outputs.class_logits, size)
        segmentation = segmentation_loss(
            F.log_softmax(logits, 1), batch.labels.semantic, self.hard_pixel_ratio
        )
        offset = upsample(outputs.offset, size)
        to_centroid = centroid_targets(first, max(map(len, batch.points)))
        to_click = offset_targets(refined, batch.points)
        offsets = [
            _labeled_mean((offset - to_centroid).abs().sum(1), first),
            _labeled_mean((offset - to_click).abs().sum(1), refined),
        ]
        center = upsample(outputs.center, size)
        heat = center_targets(batch.points, center.shape[1], size, self.sigma).to(center.device)
        return {
            "segmentation": self.segmentation * segmentation,
            "offset": self.offset * torch.stack(offsets).mean(),
            "center": self.center * _labeled_mean((center - heat).square().sum(1), first),
        }


def _labeled_mean(values: Tensor, instances: Tensor) -> Tensor:
    """The mean of `[B, H, W]` over all labeled pixels of the batch; 0 if there is none."""
    labeled = instances > 0
    return (values * labeled).sum() / shared_count(labeled.sum())


@dataclass(frozen=True)
class Bestie:
    """The method of the baseline.

    Attributes:
        loss: its objective.
        min_region: pixels; a smaller region makes no first label.
    """

    loss: BestieLoss
    min_region: int = 50
    decode: Decode = "point"
    mdm: None = None

    def objective(self, model: nn.Module, batch: Batch, step: int) -> dict[str, Tensor]:  # noqa: ARG002
        """The weighted losses of a step: `segmentation`, `offset` and `center`, each `[]`."""
        outputs: Outputs = model(batch.images)
        return self.loss(outputs, self.labels(outputs, batch), batch)

    def labels(self, outputs: Outputs, batch: Batch) -> list[Labels]:
        """The first labels, and those that the network's own offsets make."""
        count = max(map(len, batch.points))
        first = first_labels(batch.labels, count, self.min_region)
        return [first, refined_labels(outputs, batch)]
