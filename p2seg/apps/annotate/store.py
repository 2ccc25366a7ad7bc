"""Reads and writes the points file together with its journal and undo history."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from contextlib import suppress
from itertools import chain, count
from pathlib import Path
from typing import NamedTuple

from p2seg.apps.annotate.entries import Click, Entry
from p2seg.apps.annotate.history import (
    STATE_KEY,
    Action,
    actions_of,
    read_history,
    renumbered,
    state_of,
    write_history,
    written_of,
)
from p2seg.apps.annotate.layout import Layout, json_of
from p2seg.data.journal import Change, Journal
from p2seg.data.points import PointSet, read_points
from p2seg.data.records import Category
from p2seg.data.schema import naming
from p2seg.errors import UserError
from p2seg.runtime.files import write_bytes


class Snapshot(NamedTuple):
    """The content to write.

    Attributes:
        points: the points as data.
        actions: the actions that led to the points.
        images, annotations, categories: the JSON text of each entry.
    """

    points: PointSet
    actions: list[Action]
    images: list[str]
    annotations: list[str]
    categories: list[str]


class Store:
    """The points file at a path, which may not exist yet.

    Attributes:
        path: path of the file.
        known: content of the file when it was read.
        layout: text of the file.
        page_state: state of the page in the file.
        history: the actions that led to the content.
        history_fits: whether all of the undo history matches the points. The rest is ignored.
        changes: changes that are in the journal and not in the file.
        has_classes: whether the file has all classes of the page.

    Raises:
        UserError: the file is invalid, or another program changed it during reading or while the
            journal had changes.
    """

    def __init__(self, path: Path) -> None:
        self.path, self._seen = path, _state(path)
        self.known = read_points(path, journal=True) if path.exists() else PointSet([], [], [])
        content = path.read_bytes() if path.exists() else None
        if _state(path) != self._seen:
            raise UserError(f"{path} was changed during reading; start p2seg annotate again")
        with naming(path):
            self.layout = Layout.of(content)
        page_state, state = self.known.info.get(STATE_KEY), state_of(self.known)
        self.page_state = page_state if isinstance(page_state, dict) else {}
        # Older versions stored the history in the points file.
        self.history, self.history_fits = (
            (actions_of(self.page_state["undo"]), True)
            if "undo" in self.page_state
            else read_history(path, self.known, state)
        )
        self._written = {state: written_of(self.known, self.history)}
        self._journal, self.has_classes = Journal(path, state), False
        self._content_state = state
        self._coming: str | None = None
        self.changes: list[Change] = self._journal.changes

    def snapshot(
        self,
        points: PointSet,
        entries: Collection[Entry],
        categories: Collection[Category],
        history: list[Action],
    ) -> Snapshot:
        """Returns the content to write.

        Args:
            points: the new points.
            entries: the images of the file.
            categories: the classes; new classes follow those of the file.
            history: the actions that led to the points.
        """
        clicks = [click for entry in entries for click in entry.clicks.values()]
        clicks.sort(key=_row)
        known = self.layout.categories.items
        new = [json_of(vars(each)) for each in categories if each.id not in known]
        return Snapshot(
            points,
            renumbered(history, [click.row for click in clicks]),
            [entry.text for entry in entries],
            [click.text for click in clicks],
            [*known.values(), *new],
        )

    @property
    def takes_changes(self) -> bool:
        """Whether the journal accepts changes: the file exists and has all classes of the page."""
        return self.path.exists() and self.has_classes and self._journal.is_intact

    def append(self, changes: Sequence[Change]) -> None:
        """Appends changes to the journal, in a time that does not depend on the file's size.

        Raises:
            UserError: another program has changed the file.
            OSError: the points file cannot be written.
        """
        if self._coming is None:
            self._check_unchanged()
        self._journal.append(self._content_state, changes)

    def begin(self, snapshot: Snapshot) -> None:
        """Begins to write the file. Changes that are appended after this call are not in it.

        Raises:
            UserError: another program has changed the file.
            OSError: the journal cannot be written.
        """
        self._check_unchanged()
        state = state_of(snapshot.points)
        self._journal.mark(state)
        self._coming = state

    def finish(self, snapshot: Snapshot) -> None:
        """Writes the history and the file, and removes the journal if the file has all changes.

        If the history cannot be written, the points are still saved. The next start reports it.

        Args:
            snapshot: the argument of `begin`.

        Raises:
            OSError: the file cannot be written.
        """
        state = self._coming or ""
        try:
            now = {state: written_of(snapshot.points, snapshot.actions)}
            with suppress(OSError):
                write_history(self.path, self._written | now)
            write_bytes(self.path, self._content(snapshot))
            self._seen, self._written, self._content_state = _state(self.path), now, state
            self.has_classes = True
        finally:
            self._coming = None
        with suppress(OSError):  # the file has the journal's changes
            self._journal.clear()

    def _check_unchanged(self) -> None:
        if self.path.exists() and _state(self.path) != self._seen:
            raise UserError(
                f"{self.path} was changed by another program, so nothing more is saved; stop "
                "p2seg annotate and start it again to continue with the changed file"
            )

    def rescue(self, snapshot: Snapshot) -> Path:
        """Writes a points file with a new name next to the file and returns its path.

        Raises:
            OSError: the file cannot be written.
        """
        endings = chain([".unsaved.json"], (f".unsaved-{k}.json" for k in count(2)))
        paths = map(self.path.with_suffix, endings)
        path = next(path for path in paths if not os.path.lexists(path))
        write_bytes(path, self._content(snapshot))
        with suppress(OSError):
            self._journal.discard()
        return path

    def _content(self, snapshot: Snapshot) -> bytes:
        return self.layout.filled(
            {STATE_KEY: snapshot.points.info[STATE_KEY]},
            images=snapshot.images,
            annotations=snapshot.annotations,
            categories=snapshot.categories,
        )


def _row(click: Click) -> int:
    return click.row


def _state(path: Path) -> tuple[int, int, int] | None:
    """Returns values that change whenever the file changes; None if the file does not exist."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino
