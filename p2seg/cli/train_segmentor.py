"""Trains a segmentation model on pseudo masks, or on any other instances file.

p2seg train_segmentor +exp=voc_hrnet48 pseudo=outputs/voc_hrnet48/pseudo.json
"""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from p2seg.cli.build import build
from p2seg.cli.claims import writes
from p2seg.cli.inputs import report_inputs
from p2seg.cli.paths import output_folder, path_of
from p2seg.cli.provenance import record_run
from p2seg.cli.segmentor import (
    dataset_of,
    limit_of,
    pseudo_of,
    segmentor_provenance,
    trainer_of,
    validation_of,
)
from p2seg.data.loader import batches_of
from p2seg.runtime.determinism import seed_everything
from p2seg.runtime.progress import console
from p2seg.runtime.ranks import seed_rank
from p2seg.segmentors.data import InstanceBatch, usable
from p2seg.segmentors.training import segmentor_losses


@writes("train_segmentor", lambda cfg: output_folder(cfg, "segmentor"), folder=True)
def run(cfg: DictConfig) -> Path:
    """Trains the model and returns the path of the last checkpoint."""
    seed_everything(cfg.seed, deterministic=cfg.deterministic)
    instances = pseudo_of(cfg)
    folder, out = path_of(cfg, "data.images"), output_folder(cfg, "segmentor")
    instances, skipped = usable(instances, folder, cfg.data.on_error, out / "readable.json")
    report_inputs(skipped, folder, instances.images)
    dataset = dataset_of(cfg, instances, folder)
    schedule, batch = build(cfg.segmentor.schedule), cfg.segmentor.batch_size
    trainer = trainer_of(cfg, build(cfg.trainer), schedule, len(dataset))
    fabric = trainer.fabric()
    batches_from = batches_of(
        fabric,
        dataset,
        InstanceBatch.of,
        batch_size=batch,
        seed=cfg.seed,
        workers=cfg.data.workers,
        setting="segmentor.batch_size",
    )
    validation = validation_of(cfg, instances.categories, out)
    record_run(cfg, "train_segmentor", out)
    console.print(schedule.said(len(dataset), batch), markup=False)
    model = build(cfg.segmentor.model, len(instances.categories))
    limit_of(model, instances)
    seed_rank(cfg.seed, fabric.global_rank)
    return trainer.fit(
        fabric,
        model,
        build(cfg.segmentor.optimizer)(model, lr=schedule.peak(batch)),
        schedule.factor(len(dataset), batch),
        batches_from,
        segmentor_losses,
        out=out,
        validation=validation,
        validate_every=schedule.steps_of(cfg.segmentor.validate.every, len(dataset), batch),
        content=segmentor_provenance(cfg, instances, skipped, validation),
    )
