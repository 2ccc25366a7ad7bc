"""`run.json`: how a result was produced, written before the work starts."""

from __future__ import annotations

import shlex
import sys
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from p2seg.cli.build import network_input, plain
from p2seg.cli.fingerprints import contents_read, folder_content, inputs_of
from p2seg.cli.outputs import record_of
from p2seg.cli.paths import path_of
from p2seg.data.points import PointSet
from p2seg.runtime.content_fingerprint import files_below
from p2seg.runtime.files import fingerprint, sha256
from p2seg.runtime.provenance import machine, versions
from p2seg.runtime.rank_env import is_first, number_of_processes
from p2seg.runtime.run_record import note_start
from p2seg.runtime.settings import deciding, rounding


def record_run(cfg: DictConfig, tool: str, out: Path) -> None:
    """Adds a start to `run.json`: command, settings, versions, commit, machine, inputs.

    Only the first process of a run writes.

    Args:
        cfg: configuration of the command.
        tool: name of the command.
        out: folder or file that the command writes; the record of `x.json` is `x.run.json`.
    """
    if not is_first():
        return
    start = {
        "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "tool": tool,
        "command": shlex.join(sys.argv),
        "folder": str(Path.cwd()),
        "processes": number_of_processes(cfg.trainer.devices),
        "versions": versions(),
        "machine": machine(),
        "data": {
            # annotate opens a folder before all its images are read
            key: _content(path, quick=tool == "annotate")
            for key, path in inputs_of(cfg, tool).items()
        },
        "settings": OmegaConf.to_container(cfg, resolve=True),
    }
    note_start(record_of(tool, out), start)


def _content(path: Path, *, quick: bool) -> dict[str, Any]:
    """Fingerprints of a file or folder; a quick one covers only names and sizes of files."""
    known: dict[str, Any] = {"path": str(path)}
    if path.is_file():
        return known | {"sha256": sha256(path)}
    if not path.is_dir():
        return known
    files = sorted(each for each in files_below(path) if each.is_file())
    if not quick:
        return known | {"files": len(files), "content_sha256": folder_content(path, files)}
    sizes = [(each.relative_to(path).as_posix(), each.stat().st_size) for each in files]
    return known | {"files": len(files), "names_and_sizes_sha256": fingerprint(sizes)}


def provenance(cfg: DictConfig, points: PointSet, skipped: list[str]) -> dict[str, Any]:
    """The metadata of a checkpoint: settings, classes, inputs and versions."""
    keys = ("model", "mdm", "loss", "optim")
    return {
        "config": {
            "seed": cfg.seed,
            "data": {"augment": plain(cfg.data.augment), **asdict(network_input(cfg))},
            "trainer": {k: cfg.trainer[k] for k in ("batch_size", "precision", "clip_norm", "ema")},
            **{key: plain(cfg[key]) for key in keys},
            # older runs without this entry decayed from step 0, with a jump after the warm-up
            "schedule": {"decay": "from the end of the warm-up"},
        },
        "method": plain(cfg.method),
        "export": plain(cfg.export),
        "settings": settings_of(cfg, "train"),
        "categories": [{"id": c.id, "name": c.name} for c in points.categories],
        "inputs": {
            **contents_read(cfg, points.images),
            "weights": weights_read(cfg, "model.weights"),
        },
        "skipped": skipped,
        "versions": versions(),
    }


def weights_read(cfg: DictConfig, key: str) -> str | None:
    """The SHA-256 of the weights file that a setting names; None if it is null."""
    path = OmegaConf.select(cfg, key)
    return None if path is None else sha256(path_of(cfg, key))


def settings_of(cfg: DictConfig, command: str) -> dict[str, Any]:
    """The settings to compare when a training is resumed."""
    settings = plain(cfg)
    environment = {"versions": versions(), "threads": torch.get_num_threads()}
    return {**deciding(settings, command), **rounding(settings), **environment}
