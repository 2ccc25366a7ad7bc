"""Benchmarks a training step of the paper's network by precision, and the share of MDM in it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from devtools.benchmarks import labels
from devtools.benchmarks.measure import cost
from devtools.benchmarks.step import BATCH, SETTINGS, Setting, row_of
from devtools.gpu_stages import Row, Setup, attempt
from p2seg.structures import Points


def rows(setup: Setup) -> Iterator[Row]:
    """Yields a row per setting, then the labels of 8 images of 416 px; compiling comes last."""
    *plain, compiled = SETTINGS
    fastest = float("inf")
    for setting in plain[:1] if setup.rehearse else plain:
        yield (row := attempt(f"step, {setting.name}", partial(_step, setup, setting)))
        fastest = min(fastest, row.get("ms", fastest))
    for name, holes in labels.SCENES.items():
        what = f"seeds, S2I and offsets, {name} maps"
        yield attempt(what, partial(_labels, setup, holes, fastest))
    if not setup.rehearse:
        yield attempt(f"step, {compiled.name}", partial(_step, setup, compiled))


def _step(setup: Setup, setting: Setting) -> Row:
    row = row_of(setting, setup.device, setup.repeats)
    assert row.rival_seconds is not None
    return {
        "images/s": BATCH / row.seconds,
        "ms": row.seconds * 1000,
        "MiB": row.peak_mb,
        "MDM and its losses, %": 100 * (1 - row.rival_seconds / row.seconds),
    }


def _labels(setup: Setup, holes: float, step: float) -> Row:
    semantic, offset, points = labels.scene(0, holes)
    there = semantic.to(setup.device), offset.to(setup.device)
    near = [Points(p.yx.to(setup.device), p.labels.to(setup.device), p.ids) for p in points]
    seconds, peak = cost(lambda: labels.ours(*there, near), setup.device, setup.repeats)
    return {"ms": seconds * 1000, "MiB": peak, "% of the fastest step above": 1e5 * seconds / step}
