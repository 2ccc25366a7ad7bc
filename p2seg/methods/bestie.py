"""BESTIE, the baseline of the paper's tables (Kim et al., 2022): all that is its own.

A centre heatmap beside classes and offsets instead of affinities; regions with several points are
left out of the first labels (`mdm.conflict=semantic_first`), and come back by what the network's
own offsets say. Everything else is shared with the method.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from p2seg.errors import UserError
from p2seg.losses import Trust, label_losses
from p2seg.mdm.grid import upsample
from p2seg.mdm.i2s import at_full_size, class_probabilities
from p2seg.mdm.rounds import mean_over_masks
from p2seg.mdm.s2i import Decode, semantic_to_instances
from p2seg.models.backbones import Backbone
from p2seg.models.network import DecoderKind, Trunk
from p2seg.models.norms import Norm
from p2seg.structures import IGNORED, STRIDE, Batch, Labels, Outputs, PointBatch, Points, Round


class BestieNetwork(Trunk):
    """Class logits, offsets and a heatmap of the clicks at stride 4.

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
        self.centre_head = self.head(1)
        self.set_norms(norm)

    def forward(self, images: Tensor) -> Outputs:
        """Runs the network; images and sizes are those of `Trunk.see`."""
        outputs, instance = self.see(images)
        h, w = outputs.offset.shape[2:]
        return outputs._replace(centre=self.centre_head(instance)[..., :h, :w].float())


@torch.no_grad()
def refined(outputs: Outputs, batch: Batch, decode: Decode) -> Labels:
    """Labels from the network's own offsets: S2I on the first map.

    Args:
        outputs: of the network on the batch.
        batch: its first semantic map and points.
        decode: how offsets are read.

    Returns:
        Labels of `[B, H, W]`.
    """
    first = batch.labels.semantic
    known = first.masked_fill(first == IGNORED, 0)
    size = first.shape[1:]
    instances = semantic_to_instances(
        known, upsample(outputs.offset, size), batch.points, decode=decode
    )
    probabilities = class_probabilities(outputs.class_logits, batch.points)
    probabilities = at_full_size(probabilities, outputs, batch.points, size)
    confidence = probabilities.gather(1, known[:, None])[:, 0]
    weight = mean_over_masks(confidence, instances, max(map(len, batch.points)))
    return Labels(first, instances, weight.clamp(0.1, 1))


def centre_targets(points: list[Points], size: tuple[int, int], sigma: float) -> Tensor:
    """Heatmaps of clicks: the largest of Gaussians of height 1 around them.

    Args:
        points: of B images, in input pixels.
        size: (h, w) of the stride-4 grid.
        sigma: input pixels.

    Returns:
        `[B, 1, h, w]` float32 on the device of the points.
    """
    batch = PointBatch.of(points, points[0].yx.device)
    squares = []
    for axis, length in enumerate(size):
        middle = torch.arange(length, device=batch.yx.device) * STRIDE + (STRIDE - 1) / 2
        squares.append((middle - batch.yx[:, :, axis, None]) ** 2)
    square = squares[0][:, :, :, None] + squares[1][:, :, None, :]
    heat = torch.exp(-square / (2 * sigma**2)) * (batch.labels > 0)[:, :, None, None]
    return heat.amax(1, keepdim=True)


@dataclass(frozen=True)
class BestieLoss:
    """Weights and choices of BESTIE's objective.

    Attributes:
        segmentation: weight of Eq. 4.
        offset: weight of Eq. 3.
        centre: weight of the mean squared error of the heatmap.
        sigma: of the heatmap's Gaussians, input pixels.
        hard_pixel_ratio: share of the pixels Eq. 4 looks at.
        offset_weight: `margin` or `one`, as of `P2SegLoss`.
    """

    segmentation: float = 1.0
    offset: float = 0.01
    centre: float = 200.0
    sigma: float = 6.0
    hard_pixel_ratio: float = 0.2
    offset_weight: Trust = "margin"

    def __post_init__(self) -> None:
        if not 0 < self.hard_pixel_ratio <= 1 or self.sigma <= 0:
            raise UserError(
                f"loss.hard_pixel_ratio={self.hard_pixel_ratio} loss.sigma={self.sigma}; the "
                "ratio must be above 0 and at most 1, sigma above 0"
            )

    def __call__(self, outputs: Outputs, rounds: list[Round], batch: Batch) -> dict[str, Tensor]:
        """The weighted losses.

        Args:
            outputs: of a `BestieNetwork` on the batch.
            rounds: the seed, and the refined labels where there are any.
            batch: the batch.

        Returns:
            `segmentation`, `offset` and `centre`, each `[]`; the objective is their sum.
        """
        segmentation, offset = label_losses(
            outputs,
            rounds,
            batch,
            hard_pixel_ratio=self.hard_pixel_ratio,
            offset_weight=self.offset_weight,
        )
        assert outputs.centre is not None
        h, w = outputs.centre.shape[2:]
        heat = centre_targets(batch.points, (h, w), self.sigma).to(outputs.centre.device)
        return {
            "segmentation": self.segmentation * segmentation,
            "offset": self.offset * offset,
            "centre": self.centre * F.mse_loss(outputs.centre, heat),
        }


@dataclass(frozen=True)
class Bestie:
    """The method of the baseline.

    Attributes:
        loss: its objective.
        rounds: 1: labels are refined by the network's own offsets; 0: the seeds alone.
        start_step: labels are refined from this step on.
        decode: how offsets are read.
    """

    loss: BestieLoss
    rounds: int = 1
    start_step: int = 2000
    decode: Decode = "point"
    mdm: None = None

    def __post_init__(self) -> None:
        if self.rounds not in (0, 1):
            raise UserError(f"mdm.rounds={self.rounds}; BESTIE refines its labels 0 or 1 times")

    def objective(self, model: nn.Module, batch: Batch, step: int) -> dict[str, Tensor]:
        """The weighted losses of a step: `segmentation`, `offset` and `centre`, each `[]`."""
        outputs: Outputs = model(batch.images)
        rounds = self.labels(outputs, batch) if step >= self.start_step else [_seed(batch)]
        return self.loss(outputs, rounds, batch)

    def labels(self, outputs: Outputs, batch: Batch) -> list[Round]:
        """The seed, and the refined labels where there are any."""
        made = [_seed(batch)]
        if self.rounds:
            made.append(Round(refined(outputs, batch, self.decode), None))
        return made


def _seed(batch: Batch) -> Round:
    return Round(batch.labels, None)
