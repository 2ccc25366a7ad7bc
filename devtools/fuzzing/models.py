"""Readers of weights and of model settings as functions of a path."""

from __future__ import annotations

import contextlib
import json
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import nn

from p2seg.engine.checkpoint import load_checkpoint
from p2seg.errors import UserError, shown
from p2seg.models.architectures import config_of, rebuilt
from p2seg.models.backbones import load_backbone_weights
from p2seg.runtime.files import read_json
from p2seg.sam.official import build_sam, load_state
from p2seg.segmentors.load import predictor_of

MODELS = {
    "mask2former": "Mask2FormerForUniversalSegmentation",
    "sam": "SamModel",
    "sam_hq": "SamHQModel",
    "sam2": "Sam2Model",
}


def checkpoint(path: Path) -> None:
    cpu = torch.device("cpu")
    for kind in ("network", "segmentor"):
        try:
            content = load_checkpoint(path, kind)
        except UserError as error:
            refused = error
            continue
        if kind == "segmentor":
            predictor_of(path, content, cpu)
        return
    raise refused


def model(path: Path) -> None:
    """Builds the model that a checkpoint describes, from the settings of its file."""
    options = read_json(path, "settings of a model")
    if isinstance(options, dict) and isinstance(options.get("architecture"), (dict, list)):
        options["architecture"] = json.dumps(options["architecture"])
    categories = [{"id": 1, "name": "red"}, {"id": 2, "name": "blue"}]
    content: dict[str, Any] = {"categories": categories, "model": {}, "average": None}
    content["config"] = {"segmentor": {"model": options}}
    try:
        with torch.device("meta"):  # allocates no weights
            predictor_of(path, content, torch.device("meta"))
    except UserError as error:
        if "Missing key" not in str(error):  # the model was built; the file has no weights
            raise


def architecture(path: Path) -> None:
    """Reads a config.json of transformers."""
    import transformers

    settings = read_json(path, "config.json of a transformers model")
    kind = settings.get("model_type") if isinstance(settings, dict) else None
    if kind not in list(MODELS):
        raise UserError(f"no model of type {shown(kind)}")
    config = config_of(rebuilt(kind, settings, path), path)
    with torch.device("meta"), contextlib.suppress(Exception):  # the tools report these errors
        getattr(transformers, MODELS[kind])(config)


def weights(path: Path) -> None:
    torch.manual_seed(0)
    load_backbone_weights(nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2)), path)


def sam(path: Path) -> None:
    state = load_state(path, "vit_b")
    try:
        with torch.device("meta"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns about empty tensors
            build_sam(state, assign=True)
    except (LookupError, RuntimeError, AttributeError, ArithmeticError, ValueError) as error:
        raise UserError(f"not a SAM checkpoint: {error!s:.200}") from error
