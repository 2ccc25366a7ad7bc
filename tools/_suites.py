"""The suites of tools/bench.py by their names."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from _cost import experiment_of
from _memory import memory_suite
from omegaconf import DictConfig

from p2seg.benchmarks import affinity, cost, evaluation, export, labels, segmentors, step
from p2seg.benchmarks.measure import Row

RIVALS = ("affinity", "labels", "step", "export", "evaluation", "segmentors")
"""The suites that measure something beside a rival: `suite=all`."""
Suite = Callable[[torch.device, int], list[Row]]


def suites_of(
    cfg: DictConfig, out: Path | None
) -> dict[str, Callable[[torch.device, int], list[Row]]]:
    """Every suite by its name."""
    sizes = {key: tuple(cfg.bench[key]) for key in ("sides", "channels")}
    return {
        "affinity": partial(affinity.suite, **sizes),
        "labels": labels.suite,
        "step": step.suite,
        "export": export.suite,
        "evaluation": evaluation.suite,
        "segmentors": segmentors.suite,
        "cost": lambda device, repeats: cost.suite(device, repeats, experiment_of(cfg)),
        "memory": lambda *_: memory_suite(cfg, out),
    }
