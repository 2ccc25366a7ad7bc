"""Loading of a complete pretrained Mask2Former, which was trained on masks.

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
    """Adapts a backbone of transformers to the interface of `Backbone`.

    Args:
        body: the backbone of transformers.
    """

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, images: Tensor) -> list[Tensor]:
        """Feature maps of `[B, 3, H, W]` images, finest first."""
        return list(self.body(images).feature_maps)


def architecture_of(checkpoint: str) -> str:
    """The allowed settings of a checkpoint's config.json, as JSON text.

    Raises:
        UserError: there is no config.json, or it belongs to another model.
    """
    path = model_folder(checkpoint, KEY, EXAMPLE, "mask2former") / "config.json"
    return json.dumps(_kept(read_json(path, "config.json of a transformers model"), path))


def _kept(settings: Any, path: Path | str) -> dict[str, Any]:
    """The allowed settings of a Mask2Former; `path` is for error messages."""
    kind = settings.get("model_type") if isinstance(settings, dict) else None
    if kind != "mask2former":
        raise UserError(
            f"{path} has model_type {shown(kind)}; give a mask2former, such as {EXAMPLE}"
        )
    return rebuilt("mask2former", settings, path)


def load_whole(
    num_classes: int, checkpoint: str | None, architecture: str | None, factors: dict[str, Any]
) -> tuple[WholeBackbone, Heads]:
    """Backbone and heads of a pretrained Mask2Former.

    Args:
        num_classes: C; the class head is random if the checkpoint has another number of classes.
        checkpoint: a folder or a name on the hub; None: random weights.
        architecture: returned by `architecture_of`; None: that of the checkpoint.
        factors: weights of the losses, for the configuration.

    Raises:
        UserError: the checkpoint is missing or incomplete.
    """
    if architecture is None:
        assert checkpoint is not None
        architecture = architecture_of(checkpoint)
    path = "segmentor.model.architecture"
    # the text is untrusted, because it may come from a checkpoint
    config = config_of(_kept(json.loads(architecture), path), path)
    config.num_labels = num_classes
    for name, value in factors.items():
        setattr(config, name, value)
    if checkpoint is None:
        network = Mask2FormerForUniversalSegmentation(config)
    else:
        network = whole_model(
            Mask2FormerForUniversalSegmentation,
            config,
            model_folder(checkpoint, KEY, EXAMPLE, "mask2former"),
            "mask2former",
            may_lack=("class_predictor.", "criterion."),  # random for other classes
            ignore_mismatched_sizes=True,
        )
    encoder = network.model.pixel_level_module.encoder
    heads = Heads(config, encoder.channels)
    heads.pixel_decoder = network.model.pixel_level_module.decoder
    heads.transformer_module = network.model.transformer_module
    heads.class_predictor = network.class_predictor
    return WholeBackbone(encoder), heads
