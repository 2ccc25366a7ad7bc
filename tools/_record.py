"""`run.json`: what a result was made by, of and with, written before the work begins."""

from __future__ import annotations

import os
import shlex
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from p2seg.errors import UserError
from p2seg.files import fingerprint, read_json, sha256, write_json
from p2seg.runs.launched import is_first, number_of_processes
from p2seg.runs.provenance import machine, versions

GIVEN = ("semantic.class_map", "semantic.sam.checkpoint")
CLICKS = ("data.points", "review")
READS = {
    "make_points": ("gt",),
    "import_points": ("in", "images"),
    "export_points": (*CLICKS, "images"),
    "gen_semantic": (*CLICKS, "data.images", "semantic.maps", "semantic.gt", *GIVEN),
    "train": (*CLICKS, "data.images", "data.semantic", "model.weights"),
    "gen_pseudo": (*CLICKS, "data.images", "data.semantic", "ckpt", "data.candidates"),
    "train_segmentor": ("review", "pseudo", "data.images", "segmentor.weights", "data.val_gt"),
    "predict": ("ckpt", "images", "gt"),
    "export_masks": ("pred", "images", "gt"),
    "validate": ("data.points", "data.images", "data.semantic", "data.gt", "pseudo"),
    "eval": ("gt", "pred"),
    "export": ("ckpt", "images"),
    "annotate": ("images", "ckpt"),
    "gallery": ("pred", "images", "gt", "review", "ckpt"),
    "pipeline": (
        *("data.source", "semantic.maps", "segmentor.weights", *GIVEN),
        *("data.points", "data.images", "data.gt", "data.val_gt", "model.weights", "ckpt"),
    ),
}
"""Settings that name what a tool reads."""

OF_A_FILE = (
    *("make_points", "import_points", "export_points", "annotate"),
    *("gen_pseudo", "export"),
)
"""Tools that write one file, not a folder."""

KEPT = 200
"""Starts of one run that are remembered."""


def record_run(cfg: DictConfig, tool: str, out: Path) -> None:
    """Adds this start to `run.json`: command, settings, versions, commit, machine, data.

    The first process of a run does it.

    Args:
        cfg: of the tool.
        tool: its name.
        out: the folder that it writes, or the file; beside `x.json` lies `x.run.json`.
    """
    if not is_first():
        return
    path = out.with_suffix(".run.json") if tool in OF_A_FILE else out / "run.json"
    start = {
        "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "tool": tool,
        "command": shlex.join(sys.argv),
        "folder": str(Path.cwd()),
        "processes": number_of_processes(cfg.trainer.devices),
        "versions": versions(),
        "machine": machine(),
        "data": {key: _content(value) for key, value in _given(cfg, tool).items()},
        "settings": OmegaConf.to_container(cfg, resolve=True),
    }
    write_json(path, {"starts": [*_before(path), start][-KEPT:]}, indent=1)


def _before(path: Path) -> list[Any]:
    """The starts that are remembered; none where the file cannot be read."""
    try:
        content = read_json(path, "record of runs") if path.is_file() else {}
    except UserError:
        return []
    starts = content.get("starts") if isinstance(content, dict) else None
    return starts if isinstance(starts, list) else []


def _given(cfg: DictConfig, tool: str) -> dict[str, Path]:
    values = {key: OmegaConf.select(cfg, key) for key in READS[tool]}
    return {key: Path(value).expanduser() for key, value in values.items() if value is not None}


def _content(path: Path) -> dict[str, Any]:
    """A file's SHA-256; of a folder its manifest's, or that of its files' names and sizes."""
    known: dict[str, Any] = {"path": str(path)}
    if path.is_file():
        return known | {"sha256": sha256(path)}
    if not path.is_dir():
        return known
    if (path / "manifest.json").is_file():
        return known | {"manifest_sha256": sha256(path / "manifest.json")}
    files = sorted(_files(path))
    return known | {"files": len(files), "names_and_sizes_sha256": fingerprint(files)}


def _files(folder: Path) -> list[tuple[str, int]]:
    """Every file below a folder, with its size in bytes."""
    found, seen = [], set()
    for home, folders, names in os.walk(folder, followlinks=True):
        state = Path(home).stat()
        if (state.st_dev, state.st_ino) in seen:
            folders.clear()  # a link to a folder above
            continue
        seen.add((state.st_dev, state.st_ino))
        for name in names:
            path = Path(home, name)
            if path.is_file():
                found.append((path.relative_to(folder).as_posix(), path.stat().st_size))
    return found
