"""Predicts instances in images and videos: COCO results, pictures, files of other tools.

p2seg predict ckpt=outputs/voc_hrnet48/segmentor/last.pt images=DIR out=DIR
"""

from __future__ import annotations

from contextlib import closing
from functools import partial
from pathlib import Path

from omegaconf import DictConfig

from p2seg.cli.build import ranks_of
from p2seg.cli.claims import writes
from p2seg.cli.paths import output_folder, path_of
from p2seg.cli.predict_job import (
    batch_size_of,
    formats_of,
    info_of,
    job_of,
    max_objects_of,
    overlays_of,
    report_written,
    sources_of,
    tell_room,
)
from p2seg.cli.provenance import record_run
from p2seg.data.image_sources import count_frames, read_frames
from p2seg.engine.checkpoint import load_checkpoint
from p2seg.formats.masks import Options, address_of
from p2seg.runtime.devices import device_of
from p2seg.runtime.files import sha256
from p2seg.runtime.progress import console, track
from p2seg.segmentors.load import predictor_of
from p2seg.segmentors.predict import Outputs, keep_predictions, predict, write_predictions


@writes("predict", lambda cfg: output_folder(cfg, "predictions"), folder=True)
def run(cfg: DictConfig) -> Path:
    """Predicts instances and returns the path of the results."""
    path, ranks = path_of(cfg, "ckpt"), ranks_of(cfg)
    device = device_of(cfg.trainer.accelerator)
    out = output_folder(cfg, "predictions")
    batch_size = batch_size_of(cfg, device)
    formats, overlays = formats_of(cfg), overlays_of(cfg)
    checkpoint = load_checkpoint(path, "segmentor")
    limit = max_objects_of(cfg)
    predictor = predictor_of(path, checkpoint, device, ema=cfg.predict.ema, max_objects=limit)
    categories = predictor.categories
    tell_room(predictor.model, limit or checkpoint.get("objects_per_image", 0))
    job = job_of(cfg, sources_of(cfg, categories, out), sha256(path), out, ranks)
    record_run(cfg, "predict", out)
    ranks.wait()  # no rank writes a result before the record exists
    score = cfg.predict.overlay_score
    options = Options(prefix=address_of(path_of(cfg, "images")))
    outputs = Outputs(out, formats, overlays, score, categories, job.names, options)
    frames = read_frames(job.sources, cfg.predict.every, cfg.data.on_error)
    detect = partial(predictor.detect, score=cfg.predict.score, views=cfg.predict.views)
    total = count_frames(job.sources, cfg.predict.every)
    with closing(predict(detect, frames, batch_size)) as predictions:
        shown = track(predictions, "predict", total, shown=ranks.first)
        keep_predictions(shown, job.items, outputs, job.parts)
    ranks.wait()
    if ranks.first:
        info = info_of(cfg, path, checkpoint, predictor.model.max_objects)
        written = write_predictions(out, job.parts, job.stamps, categories, info, outputs)
        report_written(cfg, job, written, predictor.model.max_objects)
        console.print(f"wrote {out / 'predictions.json'}", markup=False)
    ranks.wait()
    return out / "predictions.json"
