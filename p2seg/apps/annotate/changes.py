"""The changes of points: recorded, saved, and replayed from a journal."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from p2seg.apps.annotate.history import Action, actions_of
from p2seg.apps.annotate.store import Snapshot, Store
from p2seg.data.journal import Change
from p2seg.errors import UserError


class Changes(ABC):
    """Records changes and which of them are saved.

    Args:
        store: the file, its journal and its history.

    Attributes:
        version: version of the points and marks, increased by each change.
        written: the version in the file and its journal together.
        folded: the version in the file.
        unsaved: the version of the last change of each unsaved point, by point id.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.version = self.written = self.folded = 0
        self.unsaved: dict[int, int] = {}
        self._noted: dict[int, Change] = {}

    @abstractmethod
    def snapshot(self) -> Snapshot:
        """The content to write."""

    @abstractmethod
    def make(self, do: str, name: str, values: dict[str, Any]) -> object:
        """Applies a change of the journal."""

    def note(self, do: str, name: str, **values: Any) -> None:
        """Records the change that led to this version, for the journal.

        A version without a record is saved by writing the whole file.

        Args:
            do: kind of the change.
            name: image name.
            values: arguments of the change for `make`.
        """
        self._noted[self.version] = {"do": do, "name": name, **values}

    def replay(self) -> None:
        """Applies the changes of the journal.

        Raises:
            UserError: a change is not possible.
        """
        for change in self.store.changes:
            values = dict(change)
            try:
                self.make(values.pop("do"), values.pop("name"), values)
            except (UserError, TypeError, ValueError, KeyError) as error:
                raise UserError(
                    f"{self.store.path}: the change {change} of its journal does not match the "
                    f"points ({error}); move the journal away to continue without its changes"
                ) from error
        self.note_saved(self.version)

    def unwritten(self) -> list[Change] | None:
        """The changes to append to the journal, or None if the file must be written."""
        versions = range(self.written + 1, self.version + 1)
        if not self.store.takes_changes or any(each not in self._noted for each in versions):
            return None
        return [self._noted[each] for each in versions]

    def note_saved(self, version: int) -> None:
        """Records that the file and its journal contain this version."""
        self.written = version
        self._noted = {key: each for key, each in self._noted.items() if key > version}
        self.unsaved = {id: since for id, since in self.unsaved.items() if since > version}

    def note_written(self, version: int) -> None:
        """Records that the file contains this version."""
        self.folded = version
        self.note_saved(max(version, self.written))

    def write(self, snapshot: Snapshot) -> None:
        """Writes the history and the file.

        Raises:
            UserError: another program has changed the file.
            OSError: the file cannot be written.
        """
        self.store.begin(snapshot)
        self.store.finish(snapshot)

    def rescue(self) -> Path:
        """Writes all points to a new file next to the points file and returns its path.

        Raises:
            OSError: the file cannot be written.
        """
        return self.store.rescue(self.snapshot())


def size_of(values: dict[str, Any]) -> tuple[int, int]:
    """Removes the (height, width) from the values of a change and returns it."""
    height, width = values.pop("size")
    return int(height), int(width)


def action_of(values: dict[str, Any]) -> Action:
    """The undone action in the values of an `undo` change."""
    [action] = actions_of([values["action"]])
    return action
