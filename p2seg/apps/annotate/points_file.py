"""The content of the page's points file: images, points, marks and proposals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from p2seg.apps.annotate.changes import Changes
from p2seg.apps.annotate.classes import with_new
from p2seg.apps.annotate.entries import (
    Click,
    Entry,
    aliases_of,
    entries_of,
    first_free,
    points_of,
    remembered,
)
from p2seg.apps.annotate.history import STATE_KEY, ids_of
from p2seg.apps.annotate.layout import json_of
from p2seg.apps.annotate.proposals import Proposal, Proposals
from p2seg.apps.annotate.store import Snapshot, Store
from p2seg.data.json_text import replace_values
from p2seg.data.points import PointSet
from p2seg.data.records import ImageRecord
from p2seg.structures import Points


class PointsFile(Changes):
    """The content of a points file and of the proposals next to it.

    A point id is never reused, even after the point is removed. An image keeps its id while it has
    no points, even after a restart. An accepted proposal keeps its id.

    Args:
        path: the points file; an existing file is continued.
        classes: class names; names that are not in the file are appended to its classes.

    Attributes:
        categories: class k is the k-th.
        proposals: points that a model proposes.
        history_fits: whether all of the undo history fits the points; what does not is ignored.

    Raises:
        UserError: the file is no points file, or the classes are missing, repeated or too many.
    """

    def __init__(self, path: Path, classes: Sequence[str] = ()) -> None:
        super().__init__(Store(path))
        self.path = path
        known, ours = self.store.known, self.store.page_state
        self.history_fits, self._history = self.store.history_fits, self.store.history
        self.categories = with_new(known.categories, classes, path)
        self.store.has_classes = self.categories == known.categories
        removed = {each.row for each in self._history if each.row is not None}
        self.proposals = Proposals(path, self.categories, ids_of(ours.get("rejected")))
        self._entries = entries_of(known, self.store.layout, ours, removed)
        self._aliases: dict[str, str] = {}
        rows = len(self.store.layout.annotations.items)
        self._next_row = rows + max(removed, default=0) + 1
        entries = self._entries.values()
        ids = [id for each in entries for id in each.clicks]
        self._next = first_free([*ids, *self.proposals.ids], ours, "next_id")
        self._next_image = first_free([each.record.id for each in entries], ours, "next_image_id")

    def match(self, names: Sequence[str]) -> None:
        """Matches the file's images to a folder whose names use another Unicode form.

        Args:
            names: the image names of the folder.
        """
        self._aliases = aliases_of(names, self._entries)

    def clicks(self, name: str) -> list[Click]:
        """Returns the clicks of an image."""
        entry = self._known(name)
        return [] if entry is None else list(entry.clicks.values())

    def points(self, name: str) -> Points:
        """Returns the points of an image as `Points`."""
        entry = self._known(name)
        return points_of([]) if entry is None else entry.points

    def pending(self, name: str) -> list[Proposal]:
        """Returns the proposals of an image that are neither accepted nor removed."""
        entry = self._known(name)
        if entry is not None and entry.done:
            return []
        return self.proposals.pending(name, entry.clicks if entry is not None else ())

    def shown_points(self, name: str) -> Points:
        """Returns the points and pending proposals of an image as `Points`."""
        return points_of([*self.clicks(name), *self.pending(name)])

    def size(self, name: str) -> tuple[int, int] | None:
        """Returns the (height, width) at which an image was annotated, or None."""
        entry = self._known(name)
        return entry.size if entry is not None and entry.is_listed else None

    def is_done(self, name: str) -> bool:
        """Returns whether an image has points or is marked as empty."""
        entry = self._known(name)
        return entry is not None and (entry.done or bool(entry.clicks))

    def is_empty(self, name: str) -> bool:
        """Returns whether an image is marked as empty."""
        entry = self._known(name)
        return entry is not None and entry.done

    def counts(self) -> list[int]:
        """Returns the number of points per class over all images."""
        counts = [0] * len(self.categories)
        for entry in self._entries.values():
            for click in entry.clicks.values():
                counts[click.label - 1] += 1
        return counts

    def strangers(self, names: Sequence[str]) -> list[str]:
        """Returns the file's images that are not in `names`; their points are preserved."""
        listed = {name for name, entry in self._entries.items() if entry.is_listed}
        return sorted(listed - set(map(self._key, names)))

    def snapshot(self) -> Snapshot:
        """Returns the content to write: images that have points, are done, or were in the file."""
        listed = [entry for entry in self._entries.values() if entry.is_listed]
        ours: dict[str, Any] = {"next_id": self._next, "next_image_id": self._next_image}
        if self.proposals.rejected:
            ours["rejected"] = sorted(self.proposals.rejected)
        points = PointSet(
            images=[entry.record for entry in listed],
            categories=self.categories,
            points=[entry.points for entry in listed],
            info={**self.store.known.info, STATE_KEY: ours | remembered(self._entries.values())},
        )
        return self.store.snapshot(points, listed, self.categories, self._history)

    def _known(self, name: str) -> Entry | None:
        return self._entries.get(self._key(name))

    def _key(self, name: str) -> str:
        """The name of an image in the file."""
        return self._aliases.get(name, name)

    def _entry(self, name: str, size: tuple[int, int]) -> Entry:
        entry = self._known(name)
        if entry is None:
            record = ImageRecord(self._next_image, name, *size)
            self._next_image += 1
            entry = self._entries[name] = Entry(record, json_of(vars(record)))
        # the image file was replaced by one of another size
        if not entry.is_listed and size != entry.size:
            height, width = size
            entry.record = replace(entry.record, height=height, width=width)
            entry.text = replace_values(entry.text, {"height": str(height), "width": str(width)})
        return entry
