"""What the tools of segmentors share: provenance out, a model back from a checkpoint."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from _common import path_of, plain
from hydra.utils import get_method
from omegaconf import DictConfig
from torch import nn

from p2seg.data.coco import Category, InstanceSet
from p2seg.errors import UserError
from p2seg.files import sha256
from p2seg.progress import console
from p2seg.provenance import versions

BUILDER = re.compile(r"p2seg\.segmentors\.\w+\.build_\w+")
"""What a checkpoint may name as the maker of its model: a file must not choose what is run."""


def check_segmentor(cfg: DictConfig, instances: InstanceSet) -> None:
    """The config must fit the file of pseudo masks, and random weights are better not frozen."""
    if len(instances.categories) != cfg.data.num_classes:
        raise UserError(
            f"{cfg.pseudo} has {len(instances.categories)} categories but data.num_classes is "
            f"{cfg.data.num_classes}; add data.num_classes={len(instances.categories)}"
        )
    own = cfg.segmentor
    if not own.pretrained and own.weights is None and own.model.get("norm") == "frozen":
        console.print(
            "the backbone starts from random weights with frozen norms, as in a dry run; to learn "
            "from them add segmentor.model.norm=group 'segmentor.model.frozen=[]'",
            markup=False,
        )


def segmentor_provenance(
    cfg: DictConfig, instances: InstanceSet, skipped: list[str]
) -> dict[str, Any]:
    """What a segmentor's checkpoint says of itself: settings, classes, inputs and versions."""
    pseudo = sha256(path_of(cfg, "pseudo"))
    return {
        "config": {
            "name": cfg.name,
            "seed": cfg.seed,
            "segmentor": plain(cfg.segmentor),
            "pseudo": pseudo,
        },
        "categories": [vars(category) for category in instances.categories],
        "inputs": {"pseudo": pseudo, "pseudo_info": instances.info},
        "skipped": skipped,
        "versions": versions(),
    }


def load_segmentor(
    path: Path, checkpoint: dict[str, Any], *, ema: bool
) -> tuple[nn.Module, list[Category]]:
    """The model of a checkpoint, ready to detect, and its categories.

    Args:
        path: of the checkpoint, for errors.
        checkpoint: of kind `segmentor`.
        ema: the averaged weights, where it has them.

    Raises:
        UserError: the checkpoint names a model that this version does not have.
    """
    categories = [Category(**category) for category in checkpoint["categories"]]
    options = dict(checkpoint["config"]["segmentor"]["model"])
    maker = options.pop("_target_")
    if not BUILDER.fullmatch(maker):
        raise UserError(f"{path} names {maker} as its model; give a checkpoint of a segmentor")
    options |= {"pretrained": False, "weights": None}  # the checkpoint brings its own
    model: nn.Module = get_method(maker)(len(categories), **options)
    average = checkpoint["average"] if ema else None
    model.load_state_dict(checkpoint["model"] if average is None else average)
    return model.eval(), categories


def overlays_of(cfg: DictConfig) -> int | None:
    """How many pictures `predict.overlays` asks for; None: all.

    Raises:
        UserError: it is neither true, false nor a count.
    """
    value = cfg.predict.overlays
    if not isinstance(value, int) or value < 0:
        raise UserError(f"predict.overlays={value} is unknown; it is true, false or a count")
    return None if value is True else int(value)
