"""What a job has finished before it is whole: kept as it comes, so that a killed one goes on."""

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
    """What is there of a job's items; an item is a whole number.

    Attributes:
        finished: file and byte at which the item's line begins.
        skipped: why an item could not be made; some may be finished by now.
    """

    finished: dict[int, tuple[Path, int]] = field(default_factory=dict)
    skipped: dict[int, str] = field(default_factory=dict)

    def content(self, item: int) -> dict[str, Any]:
        """What was kept of a finished item, read from its file."""
        path, start = self.finished[item]
        with path.open("rb") as stream:
            stream.seek(start)
            made: dict[str, Any] = json.loads(stream.readline())["made"]
        return made


class Parts:
    """A folder beside a job's result: a file of JSON lines a rank.

    Args:
        out: the file that the job will write.
        key: fingerprint of everything that decides the result; lines of another are not used.
        rank: of this process.
    """

    def __init__(self, out: Path, key: str, rank: int = 0) -> None:
        self.folder = out.with_name(out.name + ".parts")
        self.key = key
        self.rank = rank

    @property
    def begun(self) -> bool:
        """Whether an earlier run of the same job has begun, and not come to its end."""
        try:
            return (self.folder / "begun").read_text(encoding="utf-8") == self.key
        except (OSError, ValueError):
            return False

    def begin(self) -> None:
        """Notes that this job writes from now on."""
        write_text(self.folder / "begun", self.key)

    def add(self, item: int, stamp: str, made: dict[str, Any]) -> None:
        """Keeps a finished item, with what tells whether it is still the same."""
        self._write({"item": item, "stamp": stamp, "made": made})

    def skip(self, item: int, stamp: str, sentence: str) -> None:
        """Keeps why an item cannot be made."""
        self._write({"item": item, "stamp": stamp, "skipped": sentence})

    def kept(
        self,
        stamps: Mapping[int, str] | None = None,
        is_whole: Callable[[dict[str, Any]], bool] = lambda _: True,
    ) -> Kept:
        """What all ranks, of this run and of those before, have kept; a later line counts.

        Args:
            stamps: by item; a line with another one is not used. None: all lines are used.
            is_whole: whether something finished is what it must be; a line that is not is not used.
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
        """Removes the folder, once the result is written."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _write(self, record: dict[str, Any]) -> None:
        line = json.dumps({"key": self.key, **record})
        append_line(self.folder / f"{self.rank}.jsonl", line.encode())

    def _records(self) -> Iterator[tuple[Path, int, dict[str, Any]]]:
        """The lines of this key, one in memory at a time, and where they begin."""
        for path in filter(Path.is_file, sorted(self.folder.glob("*.jsonl"))):
            start = 0
            with path.open("rb") as stream:
                for line in stream:
                    try:
                        record = json.loads(line)
                    except (ValueError, RecursionError):
                        record = None  # an empty line, or one that a killed process has torn
                    if _whole(record) and record["key"] == self.key:
                        yield path, start, record
                    start += len(line)


def _whole(record: Any) -> bool:
    """Whether a line is one that `add` or `skip` wrote."""
    if not isinstance(record, dict) or type(record.get("item")) is not int:
        return False
    texts = isinstance(record.get("key"), str) and isinstance(record.get("stamp"), str)
    return texts and (
        isinstance(record.get("made"), dict) or isinstance(record.get("skipped"), str)
    )
