"""Runs an experiment from its data to its report; what is done and unchanged is skipped.

python tools/pipeline.py +exp=demo
"""

from __future__ import annotations

from pathlib import Path

from _entry import entry
from _experiment import Experiment
from omegaconf import DictConfig

from p2seg.progress import console


def run(cfg: DictConfig) -> Path:
    """Runs all stages and gives the report."""
    experiment = Experiment(cfg)
    experiment.prepare()
    experiment.points()
    experiment.semantic()
    stages = ["seed", "control"]
    if cfg.pipeline.network:
        experiment.train()
        stages.append("mdm")
    for stage in stages:
        experiment.pseudo(stage)
    for masks in cfg.pipeline.segmentors:
        experiment.segmentor(masks)
    report = experiment.report()
    console.print(f"report: {report}", markup=False)
    return report


main = entry("pipeline")(run)


if __name__ == "__main__":
    raise SystemExit(main())
