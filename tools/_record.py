"""`run.json`: what a result was made by, of and with, written before the work begins."""

from __future__ import annotations

import shlex
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from _common import folder_content
from _inputs import inputs_of
from omegaconf import DictConfig, OmegaConf

from p2seg.errors import UserError
from p2seg.files import files_below, fingerprint, read_json, sha256, write_json
from p2seg.runs.launched import is_first, number_of_processes
from p2seg.runs.provenance import machine, versions

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
        "data": {
            # annotate opens a folder before anyone has read all its images
            key: _content(path, quick=tool == "annotate")
            for key, path in inputs_of(cfg, tool).items()
        },
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


def _content(path: Path, *, quick: bool) -> dict[str, Any]:
    """Fingerprints of a file or a folder; a quick one is of the names and sizes of files."""
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
