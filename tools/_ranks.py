"""The processes that share a tool's work: torchrun's, srun's, or as `trainer.devices` says."""

from __future__ import annotations

import os

from _build import build
from omegaconf import DictConfig

from p2seg.ranks import Ranks


def ranks_of(cfg: DictConfig) -> Ranks:
    """The processes of this run, connected where there are several.

    Only then Fabric is started, which takes its time and knows fewer devices.
    """
    if cfg.trainer.devices == 1 and not _launched():
        return Ranks()
    build(cfg.trainer).fabric()
    return Ranks.started()


def _launched() -> bool:
    """Whether torchrun, srun or another process of ours has started this one as one of several."""
    if "SLURM_STEP_ID" in os.environ and "LOCAL_WORLD_SIZE" not in os.environ:
        from p2seg.processes import is_task  # with Fabric, which takes its time

        if is_task(os.environ):
            return True
    return int(os.environ.get("WORLD_SIZE", "1")) > 1
