"""The record `run.json`: the starts of a command, and the files that it wrote."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from p2seg.errors import UserError
from p2seg.runtime.files import read_json, write_json

KEPT = 200
"""Number of latest starts that a record keeps."""

LOCK = threading.RLock()
"""Held while a record is read, changed and written."""


def note_start(path: Path, start: dict[str, Any]) -> None:
    """Adds a start of a command to a record.

    Args:
        path: the record file.
        start: JSON values that describe the start; `tool` is the name of the command.
    """
    with LOCK:
        record = Record.read(path)
        record.starts.append(start)
        record.commands.add(start["tool"])
        record.write(path)


@dataclass
class Record:
    """The content of `run.json`.

    Attributes:
        starts: description of each start, oldest first.
        commands: names of the commands that wrote files.
        files: by path relative to the record's folder, or by pattern: the command, and the
            SHA-256 of its last two versions of the file, or None if any content is accepted.
            The dictionary itself is None in a record of an old version of p2seg, which had starts
            only.
    """

    starts: list[dict[str, Any]] = field(default_factory=list)
    commands: set[str] = field(default_factory=set)
    files: dict[str, dict[str, Any]] | None = field(default_factory=dict)

    @staticmethod
    def read(path: Path) -> Record:
        """Reads a record; an empty one if the file is missing or not a record."""
        content = record_content(path)
        if content is None:
            return Record()
        starts = [each for each in content["starts"] if isinstance(each, dict)]
        commands, files = content.get("commands"), content.get("files")
        if not isinstance(commands, list):
            commands = [each.get("tool") for each in starts]
        known = files if isinstance(files, dict) else None
        if known is not None:
            known = {name: each for name, each in known.items() if isinstance(each, dict)}
        return Record(starts, {each for each in commands if isinstance(each, str)}, known)

    def write(self, path: Path) -> None:
        """Writes the record atomically."""
        files = {} if self.files is None else {"files": self.files}
        content = {"starts": self.starts[-KEPT:], "commands": sorted(self.commands), **files}
        write_json(path, content, indent=1)


def record_content(path: Path) -> dict[str, Any] | None:
    """The JSON object of a record file; None if the file is missing or not a record of p2seg."""
    try:
        content = read_json(path, "record of runs") if path.is_file() else None
    except UserError:
        return None
    whole = isinstance(content, dict) and isinstance(content.get("starts"), list)
    return content if whole else None
