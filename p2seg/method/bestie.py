"""BESTIE (Kim et al., CVPR 2022), the baseline of the paper's tables.

Rules and numbers are those of the authors' code for point labels. The network predicts class
logits, offsets and one center heatmap per class. The first labels are the regions of the initial
semantic map that contain exactly one point. From the first step on, the network's offsets give a
second set of refined labels. docs/explanation/method.md lists the differences from the authors'
code.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from p2seg.errors import UserError
from p2seg.method.grid import upsample
from p2seg.method.losses import offset_targets, segmentation_loss
from p2seg.method.s2i import Decode
from p2seg.models.network import Trunk
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
    """The network of BESTIE: class logits, offsets and one heatmap of points per class at stride 4.

    The arguments are those of `Trunk`.
    """

    def add_heads(self) -> None:
        """Adds the head of the heatmaps."""
        self.center_head = self.head(self.num_classes)

    def forward(self, images: Tensor) -> Outputs:
        """The outputs of `Trunk.forward_features` and the heatmaps `center` `[B, C, h, w]`.

        Args:
            images: `[B, 3, H, W]` uint8 RGB, of any size.
        """
        outputs, instance = self.forward_features(images)
        h, w = outputs.offset.shape[2:]
        return outputs._replace(center=self.center_head(instance)[..., :h, :w].float())


def first_labels(seed: Labels, count: int, min_region: int) -> Labels:
    """The seed labels without small regions.

    Args:
        seed: labels `[B, H, W]` made with `mdm.conflict=semantic_first`, so that each instance is
            a region with one point.
        count: K, maximum number of points per image.
        min_region: pixels; smaller regions are removed.
    """
    flat = seed.instances.flatten(1)
    area = flat.new_zeros(len(flat), count + 1).scatter_add_(1, flat, torch.ones_like(flat))
    small = area.gather(1, flat).view_as(seed.instances) < min_region
    instances = seed.instances.masked_fill(small, 0)
    return Labels(seed.semantic, instances)


@torch.no_grad()
def refined_labels(outputs: Outputs, batch: Batch) -> Labels:
    """Assigns each pixel m of a class with points to the point `argmin_k |m + O(m) - e_k|`.

    k runs over the points of the pixel's class, also in regions with one point or none.

    Args:
        outputs: the network's outputs on the batch.
        batch: the batch, of which the initial semantic map and the points are used.

    Returns:
        Labels `[B, H, W]`.
    """
    semantic = batch.labels.semantic
    classes = semantic.masked_fill(semantic == IGNORED, 0).int()
    clicks = PointBatch.of(batch.points, semantic.device)
    keys = torch.arange(LABELS, device=semantic.device).expand(len(semantic), -1)
    offset = upsample(outputs.offset, semantic.shape[1:])
    instances = owners(classes, torch.zeros_like(keys), keys, clicks.yx, clicks.labels, offset)
    return Labels(semantic, instances)


def centroid_targets(instances: Tensor, count: int) -> Tensor:
    """Offsets from each pixel to the centroid of its instance.

    Args:
        instances: `[B, H, W]` int64, 0: no instance, k + 1: the k-th point's instance.
        count: K, maximum number of points per image.

    Returns:
        `[B, 2, H, W]` float32 (dy, dx) in pixels; undefined where there is no instance.
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
    """Target heatmaps: per class, the maximum of Gaussians of height 1 around the points.

    A Gaussian is cut off beyond 3 sigma + 1 pixels on each axis. Points outside the map are
    ignored.

    Args:
        points: points of B images.
        num_classes: C.
        size: (H, W) in pixels.
        sigma: standard deviation of the Gaussians in pixels.

    Returns:
        `[B, C, H, W]` float32 in 0..1, on the device of the points.
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
        offset: weight of the absolute error of offsets.
        center: weight of the squared error of heatmaps.
        sigma: standard deviation of the heatmaps' Gaussians in input pixels.
        hard_pixel_ratio: share of the pixels with the largest cross entropy that is averaged.
    """

    segmentation: float = 1.0
    offset: float = 0.01
    center: float = 200.0
    sigma: float = 6.0
    hard_pixel_ratio: float = 0.2

    def __post_init__(self) -> None:
        if not 0 < self.hard_pixel_ratio <= 1 or self.sigma <= 0:
            raise UserError(
                f"loss.hard_pixel_ratio={self.hard_pixel_ratio} loss.sigma={self.sigma}: "
                "hard_pixel_ratio must be > 0 and <= 1, and sigma must be > 0"
            )

    def __call__(self, outputs: Outputs, labels: list[Labels], batch: Batch) -> dict[str, Tensor]:
        """The weighted losses.

        The offset target of the first labels is the centroid of the region, that of the refined
        labels is the point. The heatmap loss covers only pixels with a first label, because a
        missing instance must not be learned as background.

        Args:
            outputs: outputs of a `BestieNetwork` on the batch.
            labels: the first labels and the refined labels.
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
    """The mean of values `[B, H, W]` over all labeled pixels of the batch; 0 if there are none."""
    labeled = instances > 0
    return (values * labeled).sum() / shared_count(labeled.sum())


@dataclass(frozen=True)
class Bestie:
    """The method BESTIE; see `p2seg.method.interface`.

    Attributes:
        loss: the objective.
        min_region: pixels; smaller regions give no first label.
        decode: how semantic-to-instance conversion (S2I) uses offsets at export.
        mdm: always None, because BESTIE has no rounds.
    """

    loss: BestieLoss
    min_region: int = 50
    decode: Decode = "point"
    mdm: None = None

    def objective(self, model: nn.Module, batch: Batch, step: int) -> dict[str, Tensor]:  # noqa: ARG002
        """The weighted losses `segmentation`, `offset` and `center` of a step, each `[]`."""
        outputs: Outputs = model(batch.images)
        return self.loss(outputs, self.labels(outputs, batch), batch)

    def labels(self, outputs: Outputs, batch: Batch) -> list[Labels]:
        """The first labels and the refined labels, each `[B, H, W]`."""
        count = max(map(len, batch.points))
        first = first_labels(batch.labels, count, self.min_region)
        return [first, refined_labels(outputs, batch)]
