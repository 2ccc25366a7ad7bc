"""A whole Mask2Former of transformers to start from: one that has seen masks.

Importing this module needs transformers.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation

from p2seg.errors import UserError
from p2seg.segmentors.weighted_mask2former import Heads

EXAMPLE = "facebook/mask2former-swin-tiny-coco-instance"
HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
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
    path = _fetched(checkpoint) / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is no config.json of a transformers model") from error
    backbone = config.get("backbone_config") if isinstance(config, dict) else None
    kind = config.get("model_type") if isinstance(config, dict) else None
    below = backbone.get("model_type") if isinstance(backbone, dict) else None
    if kind != "mask2former" or below not in BACKBONES:
        raise UserError(
            f"{path} is of a model of type {kind} with a backbone of type {below}; give a "
            f"mask2former with {' or '.join(BACKBONES)}, such as {EXAMPLE}"
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
    config = Mask2FormerConfig.from_dict(json.loads(architecture))
    config.num_labels = num_classes
    for name, value in factors.items():
        setattr(config, name, value)
    if checkpoint is None:
        made = Mask2FormerForUniversalSegmentation(config)
    else:
        made = _loaded(_fetched(checkpoint), config)
    encoder = made.model.pixel_level_module.encoder
    heads = Heads(config, encoder.channels)
    heads.pixel_decoder = made.model.pixel_level_module.decoder
    heads.transformer_module = made.model.transformer_module
    heads.class_predictor = made.class_predictor
    return WholeBackbone(encoder), heads


def _loaded(folder: Path, config: Mask2FormerConfig) -> Any:
    """The model of a folder, its class head with random weights where the classes are others."""
    try:
        made, info = Mask2FormerForUniversalSegmentation.from_pretrained(
            folder,
            config=config,
            local_files_only=True,
            use_safetensors=True,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    except (OSError, RuntimeError, ValueError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"{folder} is not a whole mask2former of transformers: {reason}") from error
    named = [*info["missing_keys"], *(key for key, *_ in info["mismatched_keys"])]
    lacking = sorted(key for key in named if not key.startswith(("class_predictor.", "criterion.")))
    if lacking:  # they would be random
        raise UserError(
            f"{folder} is not a whole mask2former of transformers: it lacks {len(lacking)} "
            f"tensors, {lacking[0]} among them"
        )
    return made


def _fetched(checkpoint: str) -> Path:
    """The folder of a checkpoint, from the hub where it is the name of one there."""
    folder = Path(checkpoint).expanduser()
    if folder.is_dir():
        return folder
    if not HUB_NAME.fullmatch(checkpoint):
        raise UserError(
            f"no folder at {folder}; segmentor.model.checkpoint is a folder of transformers' "
            f"files, or a name on the hub such as {EXAMPLE}"
        )
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(checkpoint, allow_patterns=["*.json", "*.safetensors"]))
    except Exception as error:  # of the net, of the hub, of its cache
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"there is no folder {checkpoint}, and the hub did not give it ({reason}); fetch it "
            "where there is a net, and give its folder"
        ) from error
