"""A backbone with a feature pyramid on it: what Mask R-CNN and SOLOv2 stand on."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from torch import Tensor, nn
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from p2seg.errors import UserError, shown
from p2seg.models.backbones import Backbone, build_backbone
from p2seg.models.norms import Norm, groups_of, set_norms


class FeaturePyramid(nn.Module):
    """A backbone with a feature pyramid on it, in the form torchvision's detectors take.

    Args:
        body: feature maps at several strides.
        channels: of every level of the pyramid.
        levels: of the pyramid: as many as the body has, or one more, pooled from the last.
        normalized: whether each level passes a group norm, for training from random weights.
    """

    def __init__(self, body: Backbone, channels: int, levels: int, normalized: bool) -> None:
        super().__init__()
        self.body = body
        self.out_channels = channels
        self.names = [str(level) for level in range(len(body.channels))]
        self.pyramid = FeaturePyramidNetwork(
            body.channels,
            channels,
            extra_blocks=LastLevelMaxPool() if levels > len(body.channels) else None,
            norm_layer=group_norm if normalized else None,
        )

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        """The levels of `[B, 3, H, W]` normalized images, finest first."""
        features = OrderedDict(zip(self.names, self.body(images), strict=True))
        return cast("OrderedDict[str, Tensor]", self.pyramid(features))


def group_norm(channels: int) -> nn.GroupNorm:
    """A group norm of the house's groups."""
    return nn.GroupNorm(groups_of(channels), channels)


def build_body(
    backbone: str,
    *,
    pretrained: bool,
    weights: Path | str | None,
    norm: Norm,
    frozen: Sequence[str],
    allow_masks: bool = False,
) -> Backbone:
    """The backbone of a segmentor.

    A checkpoint keeps the backbone's name, and whoever loads it builds the backbone again. So the
    name may not be one that timm would look up in the hub or in a folder.

    Args:
        backbone: a timm model name, such as `resnet50.tv_in1k`.
        pretrained: ImageNet weights from timm's hub cache.
        weights: a file of ImageNet weights instead; None for the cache.
        norm: `frozen`, `batch` or `group`.
        frozen: parts that are not trained, such as `conv1`.
        allow_masks: take weights that were trained on masks or boxes, too.

    Raises:
        UserError: an unknown backbone or part of it, the name of a repository or folder, or
            missing or refused weights.
    """
    if re.search(r"[:/\\]", backbone):
        raise UserError(
            f"segmentor.backbone={shown(backbone)} names a repository or a folder, which a "
            "checkpoint must not be built from; give a model of timm or torchvision by its name "
            "alone, and its weights with segmentor.weights=FILE"
        )
    body = build_backbone(
        backbone,
        pretrained=pretrained,
        weights=weights,
        group="segmentor",
        allow_masks=allow_masks,
    )
    set_norms(body, norm)
    freeze(body.body, frozen, backbone)
    return body


def freeze(body: nn.Module, parts: Sequence[str], name: str) -> None:
    """Keeps parts of a backbone from being trained.

    Args:
        body: the backbone.
        parts: names of modules, such as `conv1`.
        name: of the backbone, for the error.

    Raises:
        UserError: a part that it does not have.
    """
    modules = [key for key, _ in body.named_modules()]
    for part in parts:
        if part not in modules:
            raise UserError(
                f"segmentor.model.frozen names {part}, which {name} does not have; its parts "
                "are " + ", ".join(key for key in modules if key and "." not in key)
            )
        for key, parameter in body.named_parameters():
            if key.startswith(f"{part}."):
                parameter.requires_grad = False
