"""The processes that share a tool's work: torchrun's, srun's, or as `trainer.devices` says."""

from __future__ import annotations

import os

from _build import build
from omegaconf import DictConfig

from p2seg.ranks import Ranks

LAUNCHED = ("WORLD_SIZE", "SLURM_NTASKS")
"""Variables in which launchers tell how many processes there are."""


def ranks_of(cfg: DictConfig) -> Ranks:
    """The processes of this run, connected where there are several.

    Only then Fabric is started, which takes its time and knows fewer devices.
    """
    launched = any(int(os.environ.get(name) or 1) > 1 for name in LAUNCHED)
    if cfg.trainer.devices == 1 and not launched:
        return Ranks()
    build(cfg.trainer).fabric()
    return Ranks.started()
