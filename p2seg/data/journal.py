"""The journal of a points file: changes that `p2seg annotate` saved and has not put into it yet.

A change is saved by one more line, whatever the size of the points file. Each line is a JSON
object. `{"state": ...}` names a content of the points file; the changes on the lines below it
belong to that content. The line for a new content is written before the points file is. So a kill
at any moment leaves a line whose changes belong to the points file as it is. A line that a kill
has torn is no JSON and is ignored: nobody was told that it is saved.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from p2seg.errors import UserError
from p2seg.runtime.files import append_line

Change = dict[str, Any]


def journal_path(points: Path) -> Path:
    """The journal next to a points file."""
    return points.with_suffix(".journal.jsonl")


def is_journal(path: Path) -> bool:
    """Whether a file is a journal."""
    lines = _lines(path)
    return bool(lines) and "state" in lines[0]


def check_no_journal(points: Path) -> None:
    """Refuses a points file that lacks changes.

    Raises:
        UserError: its journal holds changes.
    """
    count = sum("state" not in line for line in _lines(journal_path(points)))
    if count:
        raise UserError(
            f"{points} lacks the latest changes ({count}), which are in {journal_path(points)}; "
            "p2seg annotate moves them into the file within seconds, so try again, or if it was "
            f"killed, start it again with out={points}"
        )


class Journal:
    """The journal of a points file. Threads may share it.

    Args:
        points: the points file.
        state: names its content.

    Attributes:
        path: of the journal.
        changes: that it holds and the points file does not.

    Raises:
        UserError: it holds changes of another content of the points file.
    """

    def __init__(self, points: Path, state: str) -> None:
        self.path, self._lock = journal_path(points), threading.Lock()
        lines = _lines(self.path)
        known = [place for place, line in enumerate(lines) if line.get("state") == state]
        below = lines[known[-1] :] if known else lines
        self.changes: list[Change] = [line for line in below if "state" not in line]
        if self.changes and not known:
            raise UserError(
                f"{points} was changed by another program, and {self.path} holds changes "
                f"({len(self.changes)}) of the earlier file; restore that file, or move "
                f"{self.path.name} away to continue without these changes"
            )
        self._left, self._has_head = _state(self.path), bool(known)
        self._open = len(self.changes)

    @property
    def is_intact(self) -> bool:
        """Whether nobody else has changed or removed the journal."""
        return _state(self.path) == self._left

    def append(self, state: str, changes: Sequence[Change]) -> None:
        """Adds changes, and flushes them to the disk.

        Args:
            state: names the content of the points file, for the first line of a new journal.
            changes: JSON objects without the key `state`.

        Raises:
            OSError: the system refuses; nothing is added.
        """
        with self._lock:
            self._add([*([] if self._has_head else [{"state": state}]), *changes])
            self._has_head, self._open = True, self._open + len(changes)

    def mark(self, state: str) -> None:
        """Notes a content that the points file is about to get; later changes belong to it.

        Raises:
            OSError: the system refuses.
        """
        with self._lock:
            if self._left:
                self._add([{"state": state}])
            self._open = 0

    def clear(self) -> None:
        """Removes the journal, if there is no change since the last mark.

        Raises:
            OSError: the system refuses.
        """
        with self._lock:
            if not self._open:
                self.path.unlink(missing_ok=True)
                self._left, self._has_head = None, False

    def discard(self) -> None:
        """Removes the journal, whose changes are elsewhere by now."""
        with self._lock:
            self._open = 0
        self.clear()

    def _add(self, lines: Sequence[Change]) -> None:
        texts = (json.dumps(line, ensure_ascii=False, allow_nan=False) for line in lines)
        try:
            append_line(self.path, "\n".join(texts).encode(), flush=True)
        finally:
            self._left = _state(self.path)


def _lines(path: Path) -> list[Change]:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    return [line for text in content.split(b"\n") if (line := _line(text)) is not None]


def _line(text: bytes) -> Change | None:
    try:
        line = json.loads(text)
    except ValueError:  # torn, or empty
        return None
    return line if isinstance(line, dict) else None


def _state(path: Path) -> tuple[int, int] | None:
    """Changes if another program changes or replaces the journal; None if it does not exist."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_size, stat.st_ino
