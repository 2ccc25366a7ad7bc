"""A backbone with a feature pyramid network (FPN), for Mask R-CNN and SOLOv2."""

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
    """A backbone with a feature pyramid, with the interface of torchvision's detectors.

    Args:
        body: returns feature maps at several strides.
        channels: channels of each pyramid level.
        levels: number of pyramid levels: that of the body's maps, or one more, which is pooled
            from the last.
        normalized: whether group normalization follows each convolution of the pyramid.
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
        """The pyramid levels of `[B, 3, H, W]` normalized images, finest first."""
        features = OrderedDict(zip(self.names, self.body(images), strict=True))
        return cast("OrderedDict[str, Tensor]", self.pyramid(features))


def group_norm(channels: int) -> nn.GroupNorm:
    """Group normalization with `groups_of(channels)` groups."""
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
    """Builds the backbone of a segmentation model.

    Loading a checkpoint builds the backbone by its name again. So the name must not be a repository
    or folder, from which timm would load files.

    Args:
        backbone: name of a timm or torchvision model, such as `resnet50.tv_in1k`.
        pretrained: whether to load ImageNet weights of timm or torchvision.
        weights: a file with ImageNet weights, used instead of a download.
        norm: `frozen`, `batch` or `group` normalization, see `set_norms`.
        frozen: names of modules that are not trained, such as `conv1`.
        allow_masks: whether to accept weights that were trained on masks or boxes.

    Raises:
        UserError: the backbone or a module name is unknown, the name is a repository or folder, or
            weights are missing or refused.
    """
    if re.search(r"[:/\\]", backbone):
        raise UserError(
            f"segmentor.backbone={shown(backbone)} names a repository or a folder, which is not "
            "allowed for security; give the plain name of a model of timm or torchvision, and its "
            "weights with segmentor.weights=FILE"
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
    """Excludes modules of a backbone from training.

    Args:
        body: the backbone.
        parts: names of modules, such as `conv1`.
        name: name of the backbone, for the error message.

    Raises:
        UserError: the backbone has no such module.
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
