"""Trains the network of classes, offsets and affinities on points and initial semantic maps.

p2seg train +exp=voc_hrnet48
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from omegaconf import DictConfig

from p2seg.apps.report.training import training_pictures
from p2seg.cli.build import build, network_input
from p2seg.cli.claims import writes
from p2seg.cli.inputs import points_of, reader_of, report_inputs
from p2seg.cli.networks import network_of
from p2seg.cli.paths import output_folder
from p2seg.cli.provenance import provenance, record_run
from p2seg.data.dataset import PointDataset, readable_subset
from p2seg.data.loader import batches_of
from p2seg.engine.trainer import Trainer
from p2seg.method.interface import Method
from p2seg.runtime.determinism import seed_everything
from p2seg.runtime.progress import console
from p2seg.runtime.ranks import seed_rank
from p2seg.structures import Batch


@writes("train", lambda cfg: output_folder(cfg, "network"), folder=True)
def run(cfg: DictConfig) -> Path:
    """Trains the network and returns the path of the last checkpoint."""
    seed_everything(cfg.seed, deterministic=cfg.deterministic, one_size=True)  # crops
    out = output_folder(cfg, "network")
    trainer: Trainer = build(cfg.trainer)
    points = points_of(cfg)
    reader = reader_of(cfg, points)
    points, skipped = readable_subset(points, reader, cfg.data.on_error, out / "readable.json")
    report_inputs(skipped, reader.images, points.images)
    if cfg.mdm.rounds and cfg.mdm.start_step >= trainer.max_steps:
        message = f"mdm.start_step={cfg.mdm.start_step} is not reached in {trainer.max_steps} steps"
        console.print(f"no round of MDM takes part: {message}", markup=False)
    method: Method = build(cfg.method)
    augment = build(cfg.data.augment, network_input(cfg))
    dataset = PointDataset(points, reader, build(cfg.seeder), augment, cfg.seed)
    fabric = trainer.fabric()
    batches_from = batches_of(
        fabric,
        dataset,
        Batch.of,
        batch_size=trainer.batch_size,
        seed=cfg.seed,
        workers=cfg.data.workers,
        setting="trainer.batch_size",
    )
    record_run(cfg, "train", out)
    network = network_of(cfg)
    seed_rank(cfg.seed, fabric.global_rank)

    return trainer.fit(
        fabric,
        network,
        build(cfg.optim.optimizer)(network),
        build(cfg.optim.schedule),
        batches_from,
        method.objective,
        out=out,
        content={"kind": "network", **provenance(cfg, points, skipped)},
        pictures_of=partial(training_pictures, labels=method.labels),
    )
