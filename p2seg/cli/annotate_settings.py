"""Settings of `p2seg annotate`: the classes, the output, and the preview of masks."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig, ListConfig

from p2seg.apps.annotate.clicks import Clicks
from p2seg.cli.build import build
from p2seg.cli.labeler import PSEUDO, check_export, labeler_of
from p2seg.cli.paths import path_of
from p2seg.data.points import PointSet
from p2seg.errors import UserError
from p2seg.runtime.devices import device_of

if TYPE_CHECKING:
    from p2seg.apps.annotate.masks import MaskMaker

SAM_SIDE = 1024
"""Longest side in pixels of the images that SAM sees, as its authors trained it."""
NAMES = {"grabcut": "GrabCut", "network": "the network"}


def out_of(cfg: DictConfig) -> Path:
    """The path of the points file: `out`, or `DIR_clicks.json` next to the folder of images."""
    if cfg.out:
        return Path(cfg.out).expanduser()
    folder = path_of(cfg, "images").absolute()
    return folder.with_name(f"{folder.name or 'images'}_clicks.json")


def check_points(clicks: Clicks) -> None:
    """Rejects a file of pseudo masks as points file, although it has points.

    Raises:
        UserError: the existing file contains pseudo masks.
    """
    if clicks.snapshot().points.info.get("description") == PSEUDO:
        raise UserError(
            f"out={clicks.path} contains pseudo masks, not points; set another out=FILE.json"
        )


def names_of(cfg: DictConfig) -> list[str]:
    """The class names of `classes`.

    Raises:
        UserError: `classes` is not a list of names.
    """
    names = [cfg.classes] if isinstance(cfg.classes, str) else cfg.classes
    if not isinstance(names, (list, ListConfig)) or any(not _is_name(each) for each in names):
        raise UserError(
            f"classes={cfg.classes} is not a list of names; write classes=[coin,button]"
        )
    names = [str(name) for name in names]
    if isinstance(cfg.classes, str) and (names[0].startswith("[") or names[0].endswith("]")):
        raise UserError(
            f"classes={cfg.classes} is not a list, because a bracket or quote is not closed; write "
            "'classes=[coin,café crème]'"
        )
    return names


def masks_of(cfg: DictConfig, clicks: Clicks) -> MaskMaker | None:
    """Returns what makes the masks of the preview, or None without a preview.

    Raises:
        UserError: a model or checkpoint is missing, or the network does not fit the classes.
    """
    if cfg.preview == "none":
        return None
    has_network = cfg.ckpt not in (None, "none")
    if has_network != (cfg.preview == "network"):
        raise UserError(
            f"ckpt={cfg.ckpt} is not used with preview={cfg.preview}; add preview=network"
            if has_network
            else "preview=network needs a trained network; add ckpt=FILE.pt"
        )
    if cfg.preview == "sam":
        return _sam_masks(cfg)
    from p2seg.apps.annotate.masks import LabelerMasks

    check_export(cfg)
    cfg.data.num_classes, cfg.data.points = len(clicks.categories), str(clicks.path)
    points = PointSet([], clicks.categories, [])
    labeler, _ = labeler_of(cfg, points, device_of(cfg.trainer.accelerator))
    return LabelerMasks(NAMES[cfg.preview], labeler, cfg.preview_side)


def _sam_masks(cfg: DictConfig) -> MaskMaker:
    from p2seg.apps.annotate.masks import SamMasks
    from p2seg.sam.choose import Chooser

    if "sam" not in cfg.semantic:
        raise UserError("preview=sam needs a model; give semantic=sam or semantic=sam2")
    select = cfg.semantic.select
    if select == "network":
        raise UserError("semantic.select=network does not work with preview=sam; omit it")
    prompter = build(cfg.semantic.prompter)
    side = max(cfg.preview_side, SAM_SIDE)
    costs = build(cfg.semantic.costs)
    chooser = Chooser(select, costs)
    return SamMasks(
        prompter.name, prompter, chooser, cfg.semantic.negatives, cfg.semantic.overlap, side
    )


def check_extra() -> None:
    """Checks that the package of the page is installed.

    Raises:
        UserError: it is not installed.
    """
    if find_spec("nicegui") is None:
        raise UserError("p2seg annotate needs another package; pip install 'p2seg[annotate]'")


def _is_name(value: object) -> bool:
    return isinstance(value, (str, int)) and not isinstance(value, bool) and str(value) != ""
