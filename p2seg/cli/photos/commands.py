"""The plain commands that consist of one command of settings each."""

from __future__ import annotations

import socket
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from p2seg.cli.main import main as p2seg
from p2seg.cli.photos.folder import MasksFolder, beside, hydra_words
from p2seg.data import rle
from p2seg.data.coco import InstanceSet, read_instances
from p2seg.data.points import read_points
from p2seg.errors import UserError
from p2seg.runtime.progress import console

if TYPE_CHECKING:
    from p2seg.segmentors.load import Predictor

SHORT_SIDE, LONG_SIDE = 384, 640
"""Pixels of a photograph that a segmentation model of `--model small` sees, at most."""
BATCH = 4
"""Photographs per step of the small models."""
SAM2 = "facebook/sam2.1-hiera-tiny"
"""The smallest SAM 2.1, which Hugging Face's hub has."""
WEIGHTS = "timm/mobilenetv2_100.ra_in1k"
"""ImageNet weights of the backbone of `--model small`."""


def annotate_(options: Namespace) -> int:
    """Serves the page to click objects."""
    photos = _photos(options.photos)
    return _call(
        options,
        "annotate",
        {
            "images": photos,
            "out": photos / "points.json",
            "classes": options.classes.split(",") if options.classes else None,
            "port": options.port,
            "browser": not options.no_browser,
            **_preview(options),
        },
    )


def _preview(options: Namespace) -> dict[str, Any]:
    """The settings of `--preview`."""
    if options.preview not in ("sam", "sam2"):
        return {"preview": options.preview}
    return {"preview": "sam", **sam_settings(options.preview, options.checkpoint)}


def sam_settings(method: str, checkpoint: Path | None) -> dict[str, Any]:
    """The settings of a SAM by its name on the command line."""
    default = SAM2 if method == "sam2" else None
    return {"semantic": method, "semantic.sam.checkpoint": checkpoint or default}


def import_(options: Namespace) -> int:
    """Writes the points file of clicks of other tools."""
    photos = _photos(options.images)
    if not options.file.exists():
        raise UserError(f"no file or folder of clicks at {options.file}")
    out = options.out or photos / "points.json"
    if not options.overwrite:
        _refuse_other_clicks(out, options.file)
    settings = {"in": options.file, "images": photos, "out": out, "overwrite": options.overwrite}
    return _call(options, "import_points", settings)


def _refuse_other_clicks(out: Path, file: Path) -> None:
    """Refuses to replace the points of another import.

    Raises:
        UserError: `out` has points that came from another file.
    """
    if not out.is_file():
        return
    known = read_points(out)
    source = known.info.get("source")
    if isinstance(source, str) and Path(source).absolute() != file.absolute():
        raise UserError(
            f"{out} has {sum(map(len, known.points)):,} points of {source}; --overwrite replaces "
            "them, and --out FILE.json keeps them"
        )


def export_(options: Namespace) -> int:
    """Writes the masks of a folder for another tool."""
    folder = MasksFolder.of(options.masks)
    out = options.out or beside(folder.path, f"_{options.format}")
    if not 0 <= options.val < 1:
        raise UserError(f"--val {options.val}: must be at least 0 and below 1")
    if options.val and options.format not in ("yolo", "coco"):
        raise UserError(f"--val is for yolo and coco; --format {options.format} has no such split")
    return _call(
        options,
        "export_masks",
        {
            "pred": _masks_of(folder),
            "images": folder.photos,
            "formats": [options.format],
            "val": options.val,
            "out": out,
            "overwrite": options.overwrite,
        },
    )


def train(
    masks: str | Path,
    *,
    model: Literal["small", "r50"] = "small",
    epochs: float = 24.0,
    out: str | Path | None = None,
) -> Predictor:
    """Trains a segmentation model on the masks of a folder, as `p2seg train` does, and loads it.

    Args:
        masks: folder that `p2seg masks` wrote.
        model: `small` for a CPU, `r50` for a GPU.
        epochs: passes over the photographs.
        out: folder of the model; None: PHOTOS_model.

    Raises:
        UserError: the training stopped; its reason was printed.
    """
    from p2seg.segmentors.load import load  # imports the models

    folder = MasksFolder.of(Path(masks))
    place = beside(folder.path, "_model") if out is None else Path(out)
    options = Namespace(
        masks=folder.path, model=model, epochs=epochs, out=place, overwrite=False, settings=[]
    )
    if code := train_(options):
        raise UserError(f"the training stopped with exit code {code}")
    return load(place / "last.pt")


def train_(options: Namespace) -> int:
    """Trains a segmentation model on the masks of a folder."""
    folder = MasksFolder.of(options.masks)
    masks = _masks_of(folder)
    group = f"mask_rcnn_{options.model}"
    if options.model == "small" and not _has_weights():
        group = "mask_rcnn_lean"
        console.print(
            f"{WEIGHTS} is not in the cache and huggingface.co cannot be reached: a small ResNet "
            "starts from random weights",
            markup=False,
        )
    settings: dict[str, Any] = {
        "pseudo": masks,
        "data.images": folder.photos,
        "segmentor": group,
        "segmentor.schedule.epochs": options.epochs,
        "segmentor.validate.every": "null",
        "out": options.out or beside(folder.path, "_model"),
        "overwrite": options.overwrite,
        "resume": "never" if options.overwrite else None,
    }
    if options.model == "small":
        instances = read_instances(masks)
        steps = options.epochs * len(instances.images) / BATCH
        settings |= _small(instances)
        settings["segmentor.schedule.warmup_steps"] = max(1, min(50, round(steps / 10)))
    return _call(options, "train_segmentor", settings, "+exp=photos")


def predict_(options: Namespace) -> int:
    """Finds objects with a trained segmentation model."""
    model = model_at(options.model)
    if not 0 <= options.conf <= 1:
        raise UserError(f"--conf {options.conf}: must be between 0 and 1")
    source = options.source
    pattern = any(each in source.name for each in "*?[") and not source.exists()
    place = beside(source.absolute().parent if pattern else source, "_predictions")
    if source.is_file():  # not among the photographs: an overlay would count as one
        place = beside(source.absolute().parent, f"_{source.stem}_predictions")
    return _call(
        options,
        "predict",
        {
            "ckpt": model,
            "images": source,
            "predict.score": options.conf,
            "predict.overlay_score": options.conf,
            "out": options.out or place,
            "overwrite": options.overwrite,
        },
    )


def model_at(place: Path) -> Path:
    """The checkpoint of a trained model.

    Args:
        place: the checkpoint, or the folder that `p2seg train` wrote.
    """
    model = place / "last.pt" if place.is_dir() else place
    if not model.is_file():
        raise UserError(f"no model at {model}; train one with p2seg train PHOTOS_masks")
    return model


def _call(options: Namespace, command: str, settings: dict[str, Any], *more: str) -> int:
    return p2seg(hydra_words(command, settings, more, options.settings))


def _photos(folder: Path) -> Path:
    if not folder.is_dir():
        raise UserError(f"no folder of photographs at {folder}")
    return folder


def _masks_of(folder: MasksFolder) -> Path:
    if not folder.masks.is_file():
        raise UserError(f"{folder.path} has no masks yet; run p2seg masks {folder.photos}")
    return folder.masks


def _small(masks: InstanceSet) -> dict[str, Any]:
    """Sizes of a small Mask R-CNN that fit the objects of a set."""
    sides, counts = [], []
    for record, own in zip(masks.images, masks.instances, strict=True):
        short, long = sorted((record.height, record.width))
        scale = min(1.0, SHORT_SIDE / short, LONG_SIDE / long)
        boxes = [rle.box(each.rle) for each in own]
        sides += [scale * float(np.sqrt(width * height)) for _, _, width, height in boxes]
        counts.append(len(own))
    if not sides:
        raise UserError("there are no masks to train on; run p2seg masks first")
    anchors = [8 * 2**k for k in range(4)]
    for k, share in enumerate((15, 40, 65, 90)):
        least = anchors[k - 1] + 2 if k else 8
        anchors[k] = max(least, 2 * round(float(np.percentile(sides, share)) / 2))
    most = max(counts)
    return {
        "segmentor.short_side": SHORT_SIDE,
        "segmentor.long_side": LONG_SIDE,
        "segmentor.model.anchor_sizes": anchors,
        "segmentor.model.detections": max(50, round(1.25 * most)),
        "segmentor.model.proposals_train": max(200, 3 * most),
        "segmentor.model.proposals_test": max(200, 3 * most),
    }


def _has_weights() -> bool:
    """Whether ImageNet weights of the small backbone are in the cache, or can be fetched."""
    from huggingface_hub import try_to_load_from_cache

    if isinstance(try_to_load_from_cache(WEIGHTS, "model.safetensors"), str):
        return True
    try:
        socket.create_connection(("huggingface.co", 443), timeout=3).close()
    except OSError:
        return False
    return True
