"""The processes that share a tool's work: torchrun's, srun's, or as `trainer.devices` says."""

from __future__ import annotations

from _build import build
from omegaconf import DictConfig

from p2seg.runs.launched import is_one_of_many
from p2seg.runs.ranks import Ranks


def ranks_of(cfg: DictConfig) -> Ranks:
    """The processes of this run, connected where there are several.

    Only then Fabric is started, which takes its time and knows fewer devices.
    """
    if cfg.trainer.devices == 1 and not is_one_of_many():
        return Ranks()
    build(cfg.trainer).fabric()
    return Ranks.started()
