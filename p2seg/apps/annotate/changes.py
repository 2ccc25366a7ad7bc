"""The changes of points: noted as they are made, saved, and made again from a journal."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from p2seg.apps.annotate.history import Action, actions_of
from p2seg.apps.annotate.store import Snapshot, Store
from p2seg.data.journal import Change
from p2seg.errors import UserError


class Changes(ABC):
    """What is changed, and what of it is saved.

    Args:
        store: the file, its journal and its history.

    Attributes:
        version: of the points and marks; each change counts it on.
        written: the version that the file and its journal hold.
        folded: the version that the file holds.
        unsaved: the version in which a point got to be as it is, by its id, where that is not
            written yet.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.version = self.written = self.folded = 0
        self.unsaved: dict[int, int] = {}
        self._noted: dict[int, Change] = {}

    @abstractmethod
    def snapshot(self) -> Snapshot:
        """What is to be written."""

    @abstractmethod
    def make(self, do: str, name: str, values: dict[str, Any]) -> object:
        """Makes a change of the journal again."""

    def note(self, do: str, name: str, **values: Any) -> None:
        """Notes the change that made this version, for the journal.

        A version without a note is saved by writing the whole file.

        Args:
            do: what was done.
            name: of the image.
            values: that `make` needs to do it again.
        """
        self._noted[self.version] = {"do": do, "name": name, **values}

    def replay(self) -> None:
        """Makes the changes of the journal again.

        Raises:
            UserError: a change does not fit the points.
        """
        for change in self.store.changes:
            values = dict(change)
            try:
                self.make(values.pop("do"), values.pop("name"), values)
            except (UserError, TypeError, ValueError, KeyError) as error:
                raise UserError(
                    f"{self.store.path}: the change {change} of its journal does not fit the "
                    f"points ({error}); move the journal away to go on without its changes"
                ) from error
        self.note_saved(self.version)

    def unwritten(self) -> list[Change] | None:
        """The changes that the journal has to take; None if the file has to be written."""
        versions = range(self.written + 1, self.version + 1)
        if not self.store.takes_changes or any(each not in self._noted for each in versions):
            return None
        return [self._noted[each] for each in versions]

    def note_saved(self, version: int) -> None:
        """Notes that the file and its journal hold this version."""
        self.written = version
        self._noted = {key: each for key, each in self._noted.items() if key > version}
        self.unsaved = {id: since for id, since in self.unsaved.items() if since > version}

    def note_written(self, version: int) -> None:
        """Notes that the file holds this version."""
        self.folded = version
        self.note_saved(max(version, self.written))

    def write(self, snapshot: Snapshot) -> None:
        """Writes the history and the file.

        Raises:
            UserError: another program has changed the file.
            OSError: the system refuses.
        """
        self.store.begin(snapshot)
        self.store.finish(snapshot)

    def rescue(self) -> Path:
        """Writes all points into a new file next to the points file, and gives its path.

        Raises:
            OSError: the system refuses.
        """
        return self.store.rescue(self.snapshot())


def size_of(values: dict[str, Any]) -> tuple[int, int]:
    """Takes the (height, width) out of the values of a change."""
    height, width = values.pop("size")
    return int(height), int(width)


def action_of(values: dict[str, Any]) -> Action:
    """The action in the values of a change that undid it."""
    [action] = actions_of([values["action"]])
    return action
