"""Mask2Former (Cheng et al. 2022) from Hugging Face transformers, with any timm backbone.

It needs the extra `[mask2former]`. The backbone starts from ImageNet or random weights. A complete
pretrained model (`checkpoint`) was trained on masks and must be allowed explicitly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from p2seg.engine.finite import check_outputs
from p2seg.errors import UserError
from p2seg.models.huggingface import transformers_of
from p2seg.models.mask_weights import refuse_checkpoint
from p2seg.models.norms import Norm, set_norms
from p2seg.segmentors.data import InstanceBatch, InstanceTarget
from p2seg.segmentors.detection import SoftDetection
from p2seg.segmentors.inputs import prepared
from p2seg.segmentors.lazy_masks import cell_mask
from p2seg.segmentors.limits import HEADROOM, Room
from p2seg.segmentors.pyramid import build_body, freeze
from p2seg.segmentors.segmentor import Segmentor
from p2seg.segmentors.sizes import check_counts, check_factors

if TYPE_CHECKING:  # the extra may be missing
    from p2seg.segmentors.mask2former.weighted_losses import Heads, Layer, QueryTarget, WeightedLoss

STRIDES = [4, 8, 16, 32]
"""Strides of the backbone's feature maps in input pixels."""

GROUPS = 64
"""Channels must be a multiple of this number, so that each of the 32 groups of transformers' group
norms has two channels. With one channel, normalization would zero a map of one cell."""


class Mask2Former(Segmentor):
    """Mask2Former: each query predicts the class and the mask of one instance.

    Args:
        backbone: returns four feature maps at strides 4 to 32, finest first.
        heads: pixel decoder, transformer decoder and prediction heads.
        loss: the loss of the predictions.
        max_objects: maximum number of objects per image.
    """

    def __init__(
        self, backbone: nn.Module, heads: Heads, loss: WeightedLoss, max_objects: int
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.heads = heads
        self.loss = loss
        self.max_objects = max_objects

    def room(self) -> Room:
        """See `Segmentor.room`."""
        queries = int(self.heads.config.num_queries)
        what = f"the {queries} queries of Mask2Former"
        return Room(
            queries,
            what,
            lambda objects: f"segmentor.model.queries={math.ceil(HEADROOM * objects)}",
            also_found=True,
        )

    def layers(self, images: Tensor) -> list[Layer]:
        """The predictions of each decoder layer for `[B, 3, H, W]` normalized and padded images."""
        return cast("list[Layer]", self.heads(list(self.backbone(images))))

    def losses(self, batch: InstanceBatch) -> dict[str, Tensor]:
        """Three losses by name, each summed over the layers; see `Segmentor.losses`."""
        images = prepared([image.float() / 255 for image in batch.images])
        height, width = images.shape[2:]
        layers = self.layers(images)
        targets = [_target(each, height, width) for each in batch.targets]
        with torch.autocast(images.device.type, enabled=False):
            return cast("dict[str, Tensor]", self.loss(layers, targets))

    def find(
        self, images: Tensor, sizes: Sequence[tuple[int, int]], score: float
    ) -> list[list[SoftDetection]]:
        """Detects instances in resized images of one size; see `Segmentor.find`."""
        h, w = images.shape[2:]
        classes, masks = self.layers(prepared(list(images)))[-1]
        check_outputs(classes, masks)
        masks = masks[:, :, : math.ceil(h / STRIDES[0]), : math.ceil(w / STRIDES[0])]
        return [
            self._decode(own.float(), cells.float(), (h, w), size, score)
            for own, cells, size in zip(classes, masks, sizes, strict=True)
        ]

    def _decode(
        self,
        classes: Tensor,
        cells: Tensor,
        resized_to: tuple[int, int],
        size: tuple[int, int],
        score: float,
    ) -> list[SoftDetection]:
        """The best pairs of query and class of an image.

        Args:
            classes: `[Q, C + 1]` logits.
            cells: `[Q, h, w]` logits of the cells that the image touches.
            resized_to: (height, width) of the resized image.
            size: (height, width) of the image.
            score: minimum score.
        """
        chances = classes.softmax(1)[:, :-1]
        best, index = chances.flatten().topk(min(self.max_objects + 1, chances.numel()))
        queries = index // chances.shape[1]
        inside = cells > 0
        counts = inside.sum((1, 2))
        maskness = (cells.sigmoid() * inside).sum((1, 2)) / counts.clamp(min=1)
        scores = best * maskness[queries]
        kept = (scores >= score) & (counts[queries] > 0)
        queries, labels, scores = (
            each[kept].cpu() for each in (queries, index % chances.shape[1] + 1, scores)
        )
        high, wide = (STRIDES[0] * size[axis] / resized_to[axis] for axis in (0, 1))
        cells = cells.cpu()
        masks = {q: cell_mask(cells[q], (high, wide), size) for q in set(queries.tolist())}
        return [
            SoftDetection(label, one, None, masks[query])
            for label, one, query in zip(
                labels.tolist(), scores.tolist(), queries.tolist(), strict=True
            )
        ]


def build_mask2former(
    num_classes: int,
    *,
    backbone: str,
    pretrained: bool,
    weights: Path | str | None = None,
    norm: Norm = "frozen",
    frozen: Sequence[str] = (),
    short_side: int = 800,
    long_side: int = 1333,
    queries: int = 100,
    channels: int = 256,
    heads: int = 8,
    encoder_layers: int = 6,
    encoder_channels: int = 1024,
    decoder_layers: int = 9,
    decoder_channels: int = 2048,
    points: int = 12544,
    class_weight: float = 2.0,
    mask_weight: float = 5.0,
    dice_weight: float = 5.0,
    no_object_weight: float = 0.1,
    detections: int = 100,
    checkpoint: str | None = None,
    architecture: str | None = None,
    allow_mask_pretraining: bool = False,
) -> Mask2Former:
    """Builds a Mask2Former; the defaults are those of its paper.

    `backbone`, `pretrained`, `weights`, `norm` and `frozen` are described in `build_body`,
    `short_side` and `long_side` in `Segmentor`.

    Args:
        num_classes: C, number of classes without background.
        queries: number of queries, the maximum number of instances per image.
        channels: channels of all maps and queries after the backbone, a multiple of 64.
        heads: number of attention heads.
        encoder_layers: number of layers of the pixel decoder.
        encoder_channels: hidden channels of these layers.
        decoder_layers: number of layers of the transformer decoder.
        decoder_channels: hidden channels of these layers.
        points: number of sampled points per instance in the mask losses.
        class_weight: weight of the class loss, also in the matching.
        mask_weight: weight of the cross entropy of masks.
        dice_weight: weight of the dice loss of masks.
        no_object_weight: weight of queries without an object in the class loss.
        detections: maximum number of objects per image, see `Segmentor.limit_objects`.
        checkpoint: a complete pretrained Mask2Former to start from, a folder with transformers'
            files or a name on the hub. It defines backbone and sizes, and also the class head if it
            has C classes.
        architecture: content of the checkpoint's config.json, if weights are loaded later.
        allow_mask_pretraining: whether to accept weights that were trained on masks or boxes.

    Returns:
        The model, in training mode.

    Raises:
        UserError: transformers is missing, an option is invalid, the backbone is unknown, or
            weights are missing or refused.
    """
    refuse_checkpoint(checkpoint, allowed=allow_mask_pretraining)
    transformers_of("segmentor=mask2former_*", "mask2former")
    from p2seg.segmentors.mask2former import pretrained as whole
    from p2seg.segmentors.mask2former.weighted_losses import Heads, WeightedLoss, config_of

    counts = {
        "short_side": short_side,
        "long_side": long_side,
        "queries": queries,
        "channels": channels,
        "heads": heads,
        "encoder_layers": encoder_layers,
        "encoder_channels": encoder_channels,
        "decoder_layers": decoder_layers,
        "decoder_channels": decoder_channels,
        "points": points,
        "detections": detections,
    }
    factors = {
        "class_weight": class_weight,
        "mask_weight": mask_weight,
        "dice_weight": dice_weight,
        "no_object_weight": no_object_weight,
    }
    check_counts(counts)
    check_factors(factors)
    if channels % GROUPS or channels % heads:
        raise UserError(
            f"segmentor.model.channels={channels}: must be a multiple of {GROUPS} and of "
            f"segmentor.model.heads={heads}"
        )
    factors["train_num_points"] = points
    if checkpoint is not None or architecture is not None:
        pretrained_body, own_heads = whole.load_whole(
            num_classes, checkpoint, architecture, factors
        )
        set_norms(pretrained_body, norm)
        freeze(pretrained_body.body, frozen, "the checkpoint's backbone")
        body: nn.Module = pretrained_body
    else:
        own = build_body(
            backbone,
            pretrained=pretrained,
            weights=weights,
            norm=norm,
            frozen=frozen,
            allow_masks=allow_mask_pretraining,
        )
        if own.strides != STRIDES:
            raise UserError(
                f"segmentor.backbone={backbone} has feature maps of strides {own.strides}, but "
                f"Mask2Former needs {STRIDES}; use another backbone, such as a ResNet"
            )
        config = config_of(
            num_classes,
            num_queries=queries,
            feature_size=channels,
            mask_feature_size=channels,
            hidden_dim=channels,
            num_attention_heads=heads,
            encoder_layers=encoder_layers,
            encoder_feedforward_dim=encoder_channels,
            decoder_layers=decoder_layers + 1,  # transformers counts the learned queries
            dim_feedforward=decoder_channels,
            **factors,
        )
        body, own_heads = own, Heads(config, own.channels)
    model = Mask2Former(body, own_heads, WeightedLoss(own_heads.config), detections)
    model.short_side, model.long_side = short_side, long_side
    return model.train()


def architecture_of(checkpoint: str) -> str:
    """The content of config.json of a pretrained Mask2Former.

    Args:
        checkpoint: a folder with transformers' files, or a name on the hub, which is downloaded.

    Raises:
        UserError: transformers is missing, or the checkpoint is not a Mask2Former.
    """
    transformers_of("segmentor=mask2former_*", "mask2former")
    from p2seg.segmentors.mask2former import pretrained as whole

    return whole.architecture_of(checkpoint)


def _target(target: InstanceTarget, height: int, width: int) -> QueryTarget:
    """The instances of an image with their masks padded to `height` x `width`."""
    from p2seg.segmentors.mask2former.weighted_losses import QueryTarget

    h, w = target.masks.shape[1:]
    masks = F.pad(target.masks, (0, width - w, 0, height - h))
    return QueryTarget(target.labels - 1, masks, target.weights, target.mask_weights)
