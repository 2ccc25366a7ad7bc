"""Builds the experiment of a config for `devtools/bench.py cost`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException

from devtools.benchmarks.cost import Experiment
from p2seg.cli.build import build
from p2seg.cli.labeler import network_labeler
from p2seg.cli.networks import network_of
from p2seg.data.network_input import AS_IT_IS
from p2seg.errors import UserError

ROOT = Path(__file__).resolve().parents[2]


def experiment_of(settings: Sequence[str]) -> Experiment:
    """Returns the models that the settings train, with random weights.

    Raises:
        UserError: a setting does not exist, or the number of classes is missing.
    """
    try:
        with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
            cfg = compose("base", [*settings])
    except HydraException as error:
        raise UserError(" ".join(str(error).split())) from error
    if cfg.data.num_classes is None:
        raise UserError("cost reads no points file; add data.num_classes=NUMBER")
    for group in (cfg.model, cfg.segmentor):
        group.pretrained, group.weights = False, None
    labeler = network_labeler(cfg, network_of(cfg))
    return Experiment(
        labeler=replace(labeler, input=AS_IT_IS),  # the images already have the network's size
        method=build(cfg.method),
        start_step=cfg.mdm.start_step,
        classes=cfg.data.num_classes,
        side=cfg.data.augment.crop,
        batch=cfg.trainer.batch_size,
        segmentor=build(cfg.segmentor.model, cfg.data.num_classes),
        segmentor_side=cfg.segmentor.short_side,
        segmentor_batch=cfg.segmentor.batch_size,
    )
