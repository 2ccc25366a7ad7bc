"""A whole Mask2Former of transformers to start from: one that has seen masks.

Importing this module needs transformers.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from transformers import Mask2FormerForUniversalSegmentation

from p2seg.errors import UserError, shown
from p2seg.models.architectures import config_of, rebuilt
from p2seg.models.huggingface import model_folder, whole_model
from p2seg.runtime.files import read_json
from p2seg.segmentors.mask2former.weighted_losses import Heads

EXAMPLE = "facebook/mask2former-swin-tiny-coco-instance"
KEY = "segmentor.model.checkpoint"


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
    return json.dumps(_kept(read_json(path, "config.json of a transformers model"), path))


def _kept(settings: Any, path: Path | str) -> dict[str, Any]:
    """The settings of a Mask2Former, and nothing else; a file is named by `path` in errors."""
    kind = settings.get("model_type") if isinstance(settings, dict) else None
    if kind != "mask2former":
        raise UserError(
            f"{path} is of a model of type {shown(kind)}; give a mask2former, such as {EXAMPLE}"
        )
    return rebuilt("mask2former", settings, path)


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
    path = "segmentor.model.architecture"
    # the text may be a stranger's
    config = config_of(_kept(json.loads(architecture), path), path)
    config.num_labels = num_classes
    for name, value in factors.items():
        setattr(config, name, value)
    if checkpoint is None:
        made = Mask2FormerForUniversalSegmentation(config)
    else:
        made = whole_model(
            Mask2FormerForUniversalSegmentation,
            config,
            model_folder(checkpoint, KEY, EXAMPLE, "mask2former"),
            "mask2former",
            may_lack=("class_predictor.", "criterion."),  # random where the classes are others
            ignore_mismatched_sizes=True,
        )
    encoder = made.model.pixel_level_module.encoder
    heads = Heads(config, encoder.channels)
    heads.pixel_decoder = made.model.pixel_level_module.decoder
    heads.transformer_module = made.model.transformer_module
    heads.class_predictor = made.class_predictor
    return WholeBackbone(encoder), heads
