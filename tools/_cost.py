"""What `tools/bench.py suite=cost` measures, from the config."""

from __future__ import annotations

from dataclasses import replace

from omegaconf import DictConfig

from p2seg.benchmarks import cost
from p2seg.cli.build import build
from p2seg.cli.labeller import network_labeller
from p2seg.cli.networks import network_of
from p2seg.data.network_input import AS_IT_IS
from p2seg.errors import UserError


def experiment_of(cfg: DictConfig) -> cost.Experiment:
    """What the config trains, with random weights."""
    if cfg.data.num_classes is None:
        raise UserError("suite=cost reads no points file; add data.num_classes=NUMBER")
    for group in (cfg.model, cfg.segmentor):
        group.pretrained, group.weights = False, None
    labeller = network_labeller(cfg, network_of(cfg))
    return cost.Experiment(
        labeller=replace(labeller, input=AS_IT_IS),  # its images have the size that a network sees
        method=build(cfg.method),
        start_step=cfg.mdm.start_step,
        classes=cfg.data.num_classes,
        side=cfg.data.augment.crop,
        batch=cfg.trainer.batch_size,
        segmentor=build(cfg.segmentor.model, cfg.data.num_classes),
        segmentor_side=cfg.segmentor.short_side,
        segmentor_batch=cfg.segmentor.batch_size,
    )
