"""Finds instances in images and videos with a trained segmentor: COCO's results, pictures, LabelMe.

python tools/predict.py ckpt=outputs/voc_hrnet48/segmentor/last.pt images=DIR out=DIR
"""

from __future__ import annotations

from contextlib import closing
from functools import partial
from pathlib import Path

from _common import output_folder, path_of
from _entry import entry
from _predict import batch_size_of, formats_of, overlays_of, sources_of
from _segmentor import saw_masks
from omegaconf import DictConfig

from p2seg.checkpoint import load_checkpoint
from p2seg.data.sources import count_frames, read_frames
from p2seg.devices import device_of
from p2seg.files import sha256
from p2seg.progress import console, track
from p2seg.provenance import versions
from p2seg.segmentors.load import predictor_of
from p2seg.segmentors.predict import predict, write_predictions


def run(cfg: DictConfig) -> Path:
    """Predicts and gives the file of results."""
    path, device = path_of(cfg, "ckpt"), device_of(cfg.trainer.accelerator)
    out = output_folder(cfg, "predictions")
    batch_size, formats = batch_size_of(cfg, device), formats_of(cfg, out)
    overlays = overlays_of(cfg)
    checkpoint = load_checkpoint(path, "segmentor")
    predictor = predictor_of(path, checkpoint, device, ema=cfg.predict.ema)
    sources = sources_of(cfg, predictor.categories, out)
    frames = read_frames(sources, cfg.predict.every, cfg.data.on_error)
    detect = partial(predictor.detect, score=cfg.predict.score, views=cfg.predict.views)
    (out / "predictions.json").unlink(missing_ok=True)  # or it would outlive a run that fails
    with closing(predict(detect, frames, batch_size)) as predictions:
        written, skipped = write_predictions(
            track(predictions, "predict", count_frames(sources, cfg.predict.every)),
            out,
            predictor.categories,
            names=[source.name for source in sources],
            formats=formats,
            overlays=overlays,
            overlay_score=cfg.predict.overlay_score,
            info={
                "description": "images of predictions.json",
                "checkpoint": sha256(path),
                "step": checkpoint["step"],
                "segmentor": checkpoint["config"],
                "inputs": checkpoint["inputs"],
                "mask_pretraining": saw_masks(checkpoint["config"]["segmentor"]),
                "score": cfg.predict.score,
                "views": cfg.predict.views,
                "versions": versions(),
            },
        )
    for sentence in skipped:
        console.print(f"skipped: {sentence}", markup=False)
    console.print(f"wrote {written}", markup=False)
    return written


main = entry("predict")(run)


if __name__ == "__main__":
    raise SystemExit(main())
