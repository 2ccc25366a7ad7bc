"""Finds instances in images with a trained segmentor: COCO's results list, and pictures.

python tools/predict.py ckpt=outputs/voc_hrnet48/segmentor/last.pt images=DIR out=DIR
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from _common import output_folder, path_of
from _entry import entry
from _segmentor import overlays_of, saw_masks
from omegaconf import DictConfig

from p2seg.checkpoint import load_checkpoint
from p2seg.data.coco import Category, read_instances
from p2seg.devices import device_of
from p2seg.errors import UserError
from p2seg.files import sha256
from p2seg.progress import console, track
from p2seg.provenance import versions
from p2seg.segmentors.load import predictor_of
from p2seg.segmentors.predict import Source, images_in, predict, write_predictions


def run(cfg: DictConfig) -> Path:
    """Predicts and gives the file of results."""
    path, folder = path_of(cfg, "ckpt"), path_of(cfg, "images")
    checkpoint = load_checkpoint(path, "segmentor")
    device = device_of(cfg.trainer.accelerator)
    predictor = predictor_of(path, checkpoint, device, ema=cfg.predict.ema)
    categories = predictor.categories
    sources = sources_of(cfg, folder, categories)
    detect = partial(predictor.detect, score=float(cfg.predict.score))
    predictions = predict(detect, sources, folder, cfg.data.on_error)
    written, skipped = write_predictions(
        track(predictions, "predict", len(sources)),
        output_folder(cfg, "predictions"),
        categories,
        overlays=overlays_of(cfg),
        overlay_score=cfg.predict.overlay_score,
        info={
            "description": "images of predictions.json",
            "checkpoint": sha256(path),
            "step": checkpoint["step"],
            "segmentor": checkpoint["config"],
            "inputs": checkpoint["inputs"],
            "mask_pretraining": saw_masks(checkpoint["config"]["segmentor"]),
            "score": cfg.predict.score,
            "versions": versions(),
        },
    )
    for sentence in skipped:
        console.print(f"skipped: {sentence}", markup=False)
    console.print(f"wrote {written}", markup=False)
    return written


def sources_of(cfg: DictConfig, folder: Path, categories: list[Category]) -> list[Source]:
    """The images of the file `gt` with its ids, or all images of the folder."""
    if cfg.gt is None:
        return images_in(folder)
    given = read_instances(path_of(cfg, "gt"))
    if given.categories != categories:
        raise UserError(
            f"{cfg.ckpt} was trained on {len(categories)} categories "
            f"({', '.join(c.name for c in categories[:5])}...) but {cfg.gt} has "
            f"{len(given.categories)} ({', '.join(c.name for c in given.categories[:5])}...), or "
            "other ids; use a checkpoint of these categories"
        )
    return [(image.id, image.file_name, (image.height, image.width)) for image in given.images]


main = entry("predict")(run)


if __name__ == "__main__":
    raise SystemExit(main())
