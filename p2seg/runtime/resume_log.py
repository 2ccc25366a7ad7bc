"""Append-only log of finished items, from which a killed job resumes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from p2seg.runtime.files import append_line, write_text


@dataclass(frozen=True)
class Kept:
    """The logged items of a job; an item is an integer.

    Attributes:
        finished: file and byte offset of the line of each finished item.
        skipped: why an item failed. A later run may have finished it.
    """

    finished: dict[int, tuple[Path, int]] = field(default_factory=dict)
    skipped: dict[int, str] = field(default_factory=dict)

    def content(self, item: int) -> dict[str, Any]:
        """The result of a finished item, read from its file."""
        path, start = self.finished[item]
        with path.open("rb") as stream:
            stream.seek(start)
            result: dict[str, Any] = json.loads(stream.readline())["made"]
        return result


class Parts:
    """A folder `OUT.parts` next to the result of a job, with one file of JSON lines per rank.

    Args:
        out: the file that the job will write.
        key: fingerprint of everything that affects the result; lines with another key are ignored.
        rank: rank of this process.
    """

    def __init__(self, out: Path, key: str, rank: int = 0) -> None:
        self.folder = out.with_name(out.name + ".parts")
        self.key = key
        self.rank = rank

    @property
    def begun(self) -> bool:
        """Whether an earlier run of the same job was started and not finished."""
        try:
            return (self.folder / "begun").read_text(encoding="utf-8") == self.key
        except (OSError, ValueError):
            return False

    def begin(self) -> None:
        """Records that this job was started."""
        write_text(self.folder / "begun", self.key)

    def add(self, item: int, stamp: str, result: dict[str, Any]) -> None:
        """Logs the result of an item, with a stamp of the item's inputs."""
        self._write({"item": item, "stamp": stamp, "made": result})

    def skip(self, item: int, stamp: str, sentence: str) -> None:
        """Logs why an item failed, with a stamp of the item's inputs."""
        self._write({"item": item, "stamp": stamp, "skipped": sentence})

    def kept(
        self,
        stamps: Mapping[int, str] | None = None,
        is_whole: Callable[[dict[str, Any]], bool] = lambda _: True,
    ) -> Kept:
        """The logged items of all ranks, of this run and of earlier ones; the last line counts.

        Args:
            stamps: current stamp of each item; lines with another stamp are ignored. None: all
                lines are used.
            is_whole: whether a result is valid; other results are ignored.
        """
        kept = Kept()
        for path, start, record in self._records():
            item = record["item"]
            if stamps is not None and record["stamp"] != stamps.get(item):
                continue
            if isinstance(record.get("made"), dict):
                if not is_whole(record["made"]):
                    continue
                kept.finished[item] = (path, start)
            else:
                kept.skipped[item] = record["skipped"]
        return kept

    def remove(self) -> None:
        """Removes the folder; called after the result is written."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _write(self, record: dict[str, Any]) -> None:
        line = json.dumps({"key": self.key, **record})
        append_line(self.folder / f"{self.rank}.jsonl", line.encode())

    def _records(self) -> Iterator[tuple[Path, int, dict[str, Any]]]:
        """File, byte offset and content of each line with this key, one in memory at a time."""
        for path in filter(Path.is_file, sorted(self.folder.glob("*.jsonl"))):
            start = 0
            with path.open("rb") as stream:
                for line in stream:
                    try:
                        record = json.loads(line)
                    except (ValueError, RecursionError):
                        record = None  # an empty line, or an incomplete one of a killed process
                    if _whole(record) and record["key"] == self.key:
                        yield path, start, record
                    start += len(line)


def _whole(record: Any) -> bool:
    """Whether a line was written by `add` or `skip`."""
    if not isinstance(record, dict) or type(record.get("item")) is not int:
        return False
    texts = isinstance(record.get("key"), str) and isinstance(record.get("stamp"), str)
    return texts and (
        isinstance(record.get("made"), dict) or isinstance(record.get("skipped"), str)
    )
