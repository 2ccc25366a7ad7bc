"""Runs an experiment from its data to its report; finished and unchanged stages are skipped.

p2seg pipeline +exp=demo
"""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from p2seg.cli.candidates import is_prompted
from p2seg.cli.claims import writes
from p2seg.cli.experiment import Experiment
from p2seg.cli.paths import output_folder
from p2seg.cli.provenance import record_run
from p2seg.errors import UserError
from p2seg.runtime.progress import console


@writes("pipeline", lambda cfg: output_folder(cfg, ""), folder=True)
def run(cfg: DictConfig) -> Path:
    """Runs all stages and returns the path of the report."""
    if cfg.review is not None:
        raise UserError(
            "review applies to existing masks, but a pipeline generates all masks; remove review, "
            "and set it for p2seg gen_pseudo and p2seg train_segmentor"
        )
    experiment = Experiment(cfg)
    record_run(cfg, "pipeline", experiment.home)
    experiment.prepare()
    experiment.points()
    experiment.semantic()
    if cfg.pipeline.network:
        experiment.train()
    splits = [
        split
        for split in ("geodesic", "mixture")
        if not cfg.pipeline.network or split in cfg.pipeline.segmentors
    ]
    more = [*splits, *(["sam"] if is_prompted(cfg) else [])]
    for stage in ("seed", "control", *more):
        experiment.pseudo(stage)
    if cfg.pipeline.reselect:
        experiment.reselect()
        experiment.pseudo("sam_network")
    if cfg.pipeline.network:
        if experiment.untrained.is_file():
            experiment.pseudo("untrained")
        experiment.pseudo("mdm")
    for masks in cfg.pipeline.segmentors:
        experiment.segmentor(masks)
    report = experiment.report()
    console.print(f"report: {report}", markup=False)
    return report
