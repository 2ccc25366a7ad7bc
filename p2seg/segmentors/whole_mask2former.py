"""A whole Mask2Former of transformers to start from: one that has seen masks.

Importing this module needs transformers.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation

from p2seg.errors import UserError
from p2seg.files import read_json
from p2seg.models.huggingface import model_folder, whole_model
from p2seg.segmentors.weighted_mask2former import Heads

EXAMPLE = "facebook/mask2former-swin-tiny-coco-instance"
KEY = "segmentor.model.checkpoint"
BACKBONES = ("swin", "resnet")
"""Whose weights are all in the checkpoint; others would ask the hub for theirs."""


class WholeBackbone(nn.Module):
    """A backbone of transformers, in the form of ours.

    Args:
        body: the backbone.
    """

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, images: Tensor) -> list[Tensor]:
        """Feature maps of `[B, 3, H, W]` images, finest first."""
        return list(self.body(images).feature_maps)


def architecture_of(checkpoint: str) -> str:
    """What a checkpoint's config.json says that a model is built from, as a text.

    Raises:
        UserError: there is none, or it is of another model.
    """
    path = model_folder(checkpoint, KEY, EXAMPLE, "mask2former") / "config.json"
    return _closed(read_json(path, "config.json of a transformers model"), path)


def _closed(config: Any, path: Path | str) -> str:
    """A config as a text, so that a model built from it asks nobody for weights.

    Args:
        config: of a config.json.
        path: of it, for the error.

    Raises:
        UserError: it is of another model.
    """
    backbone = config.get("backbone_config") if isinstance(config, dict) else None
    kind = config.get("model_type") if isinstance(config, dict) else None
    below = backbone.get("model_type") if isinstance(backbone, dict) else None
    if kind != "mask2former" or below not in BACKBONES:
        raise UserError(
            f"{path} is of a model of type {kind!s:.60} with a backbone of type {below!s:.60}; "
            f"give a mask2former with {' or '.join(BACKBONES)}, such as {EXAMPLE}"
        )
    return json.dumps({**config, "backbone": None, "use_pretrained_backbone": False})


def load_whole(
    num_classes: int, checkpoint: str | None, architecture: str | None, factors: dict[str, Any]
) -> tuple[WholeBackbone, Heads]:
    """Backbone and heads of a whole Mask2Former.

    Args:
        num_classes: C; the class head is made anew where the checkpoint has other classes.
        checkpoint: a folder or a name on the hub; None: random weights.
        architecture: of `architecture_of`; None: the checkpoint's.
        factors: of the losses, for the config.

    Raises:
        UserError: it is not there, or not whole.
    """
    if architecture is None:
        assert checkpoint is not None
        architecture = architecture_of(checkpoint)
    # the text may be a stranger's checkpoint's
    closed = _closed(json.loads(architecture), "the checkpoint's architecture")
    config = _config(closed)
    config.num_labels = num_classes
    for name, value in factors.items():
        setattr(config, name, value)
    if checkpoint is None:
        made = Mask2FormerForUniversalSegmentation(config)
    else:
        made = whole_model(
            Mask2FormerForUniversalSegmentation.from_pretrained,
            model_folder(checkpoint, KEY, EXAMPLE, "mask2former"),
            "mask2former",
            may_lack=("class_predictor.", "criterion."),  # random where the classes are others
            config=config,
            ignore_mismatched_sizes=True,
        )
    encoder = made.model.pixel_level_module.encoder
    heads = Heads(config, encoder.channels)
    heads.pixel_decoder = made.model.pixel_level_module.decoder
    heads.transformer_module = made.model.transformer_module
    heads.class_predictor = made.class_predictor
    return WholeBackbone(encoder), heads


def _config(architecture: str) -> Any:
    try:
        return Mask2FormerConfig.from_dict(json.loads(architecture))
    except Exception as error:  # whatever transformers comes to at settings that cannot be
        raise UserError(
            f"no Mask2Former can be built from this config.json ({error!s:.200}); give {EXAMPLE}'s"
        ) from error
