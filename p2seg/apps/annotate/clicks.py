"""The clicked points of a folder of images, and their points file."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from p2seg.apps.annotate.changes import Changes, action_of, size_of
from p2seg.apps.annotate.classes import place_of, with_new
from p2seg.apps.annotate.contents import Contents
from p2seg.apps.annotate.entries import (
    Click,
    Entry,
    entries_of,
    first_free,
    remembered,
)
from p2seg.apps.annotate.history import KEPT, STATE_KEY, Action, found_in
from p2seg.apps.annotate.layout import entry_of, entry_or, is_point, json_of
from p2seg.apps.annotate.store import Snapshot, Store
from p2seg.data.json_text import replace_values, value_of
from p2seg.data.points import PointSet
from p2seg.data.records import ImageRecord
from p2seg.errors import UserError


class Clicks(Contents, Changes):
    """The points of a folder's images, with their changes, undo history and journal.

    A change is saved in the journal next to the file. The file is written at intervals.

    A point id is never reused, even after the point is removed. An image keeps its id while it has
    no points, even after a restart. A point is the center of the clicked pixel, so coordinates are
    integers.

    Args:
        path: the points file; an existing file is continued.
        classes: class names; names that are not in the file are appended to its classes.

    Attributes:
        history_fits: whether all of the undo history matches the points. The rest is ignored.

    Raises:
        UserError: the points file is invalid, or the classes are missing, repeated or too many.
    """

    def __init__(self, path: Path, classes: Sequence[str] = ()) -> None:
        Changes.__init__(self, Store(path))
        self.path = path
        known, page_state = self.store.known, self.store.page_state
        self.history_fits, self._history = self.store.history_fits, self.store.history
        removed = {each.row for each in self._history if each.row is not None}
        entries = entries_of(known, self.store.layout, page_state, removed)
        Contents.__init__(self, entries, with_new(known.categories, classes, path))
        self.store.has_classes = self.categories == known.categories
        rows = len(self.store.layout.annotations.items)
        self._next_row = rows + max(removed, default=0) + 1
        ids = [id for each in entries.values() for id in each.clicks]
        self._next = first_free(ids, page_state, "next_id")
        image_ids = [each.record.id for each in entries.values()]
        self._next_image = first_free(image_ids, page_state, "next_image_id")
        self.replay()

    def add(self, name: str, size: tuple[int, int], label: int, x: int, y: int) -> Click:
        """Adds a point on the pixel (x, y).

        Args:
            name: name of the image.
            size: (height, width) of the image.
            label: class, 1..C.
            x, y: the pixel.

        Raises:
            UserError: the pixel has a point or lies outside, or the class does not exist.
        """
        if not 1 <= label <= len(self.categories):
            raise UserError(f"class {label} does not exist; use 1 to {len(self.categories)}")
        entry = self._entry(name, size)
        self._check_place(entry, x, y)
        click = self._new(entry, self._next, label, (x, y), self._next_row)
        self._next += 1
        self._next_row += 1
        self._put(entry, click)
        self._note(Action("add", entry.record.id, click.id, was_done=entry.done))
        entry.done = False
        self.note("add", self._key(name), size=size, label=label, x=x, y=y)
        return click

    def move(self, name: str, id: int, x: int, y: int) -> None:
        """Moves a point to another pixel.

        Raises:
            UserError: see `add`; or the point does not exist.
        """
        entry, click = self._find(name, id)
        if (math.floor(click.x), math.floor(click.y)) == (x, y):
            return
        self._check_place(entry, x, y)
        was = value_of(click.text, "point")
        self._put(entry, _moved(click, x, y))
        self._note(Action("move", entry.record.id, id, None, (click.x, click.y), was=was))
        self.note("move", self._key(name), id=id, x=x, y=y)

    def remove(self, name: str, id: int) -> None:
        """Removes a point.

        Raises:
            UserError: the point does not exist.
        """
        entry, click = self._find(name, id)
        category = self.categories[click.label - 1].id
        self._take(entry, id)
        about = entry.record.id, id, category, (click.x, click.y)
        self._note(Action("remove", *about, row=click.row, was=click.text))
        self.note("remove", self._key(name), id=id)

    def mark_done(self, name: str, size: tuple[int, int]) -> None:
        """Marks an image as empty; an image with points is not changed."""
        entry = self._entry(name, size)
        if not entry.clicks and not entry.done:
            entry.done = True
            self._note(Action("done", entry.record.id))
            self.note("done", self._key(name), size=size)

    def undo(self, name: str, size: tuple[int, int] | None = None) -> str | None:
        """Undoes the last action on an image.

        Args:
            name: name of the image.
            size: its current (height, width); None: the annotated size.

        Returns:
            A noun for the undone action, for the user; None if nothing can be undone.
        """
        entry = self._known(name)
        if entry is None or (not entry.is_listed and size not in (None, entry.size)):
            return None  # the image file was replaced
        for action in [each for each in self._history if each.image_id == entry.record.id][::-1]:
            undone = self.take_back(name, action)
            if undone is not None:
                return undone
        return None

    def take_back(self, name: str, action: Action) -> str | None:
        """Undoes an action on an image, and removes it and later ones on that image from history.

        Returns:
            A noun for the action, for the user; None if it can no longer be undone.
        """
        entry = self._known(name)
        if entry is None:
            return None
        own = [each for each in self._history if each.image_id == entry.record.id]
        removed = own[found_in(own, action) :]
        self._history = [each for each in self._history if all(each is not one for one in removed)]
        undone = self._undone(entry, removed[0] if removed else replace(action, row=None))
        if undone is not None:
            self.version += 1
            self.note("undo", self._key(name), action=action.content)
        return undone

    def snapshot(self) -> Snapshot:
        """Returns the content to write: images that have points, are done, or were in the file."""
        listed = [entry for entry in self._entries.values() if entry.is_listed]
        page_state = {"next_id": self._next, "next_image_id": self._next_image}
        points = PointSet(
            images=[entry.record for entry in listed],
            categories=self.categories,
            points=[entry.points for entry in listed],
            info={
                **self.store.known.info,
                STATE_KEY: page_state | remembered(self._entries.values()),
            },
        )
        return self.store.snapshot(points, listed, self.categories, self._history)

    def make(self, do: str, name: str, values: dict[str, Any]) -> object:
        """Applies a change of the journal."""
        if do == "undo":
            return self.take_back(name, action_of(values))
        if do in ("add", "done"):
            values["size"] = size_of(values)
        own: dict[str, Callable[..., object]] = {
            "add": self.add,
            "move": self.move,
            "remove": self.remove,
            "done": self.mark_done,
        }
        return own[do](name, **values)

    def _undone(self, entry: Entry, action: Action) -> str | None:
        """Undoes an action; returns None if the action no longer applies."""
        if action.do == "done":
            was, entry.done = entry.done, False
            return "the mark of an empty image" if was else None
        id = action.id or 0
        if action.do == "remove":
            label = place_of(self.categories, action.category_id)
            if label is None or id in entry.clicks or not entry.is_free(action.point):
                return None
            row = action.row
            if row is None:  # written by an older version
                row, self._next_row = self._next_row, self._next_row + 1
            click = self._new(entry, id, label, action.point or (0, 0), row)
            text = entry_or(action.was, click.text, entry.record)
            self._put(entry, replace(click, text=text))
            entry.done = False
            return "a removed point"
        if id not in entry.clicks:
            return None
        if action.do == "add":
            self._take(entry, id)
            entry.done = action.was_done and not entry.clicks
            return "a click"
        if not entry.is_free(action.point):
            return None
        x, y = action.point or (0.0, 0.0)
        known = is_point(action.was, x, y, entry.record)
        self._put(entry, _moved(entry.clicks[id], x, y, action.was if known else None))
        return "a move"

    def _new(
        self, entry: Entry, id: int, label: int, point: tuple[float, float], row: int
    ) -> Click:
        x, y = map(float, point)
        text = entry_of(id, entry.record.id, self.categories[label - 1].id, x, y)
        return Click(id, label, x, y, row, text)

    def _note(self, action: Action) -> None:
        self._history = [*self._history[1 - KEPT :], action]
        self.version += 1

    def _entry(self, name: str, size: tuple[int, int]) -> Entry:
        entry = self._known(name)
        if entry is None:
            record = ImageRecord(self._next_image, name, *size)
            self._next_image += 1
            entry = self._entries[name] = Entry(record, json_of(vars(record)))
        # The image file was replaced by one with another size.
        if not entry.is_listed and size != entry.size:
            height, width = size
            entry.record = replace(entry.record, height=height, width=width)
            entry.text = replace_values(entry.text, {"height": str(height), "width": str(width)})
        return entry

    def _find(self, name: str, id: int) -> tuple[Entry, Click]:
        entry = self._known(name)
        if entry is None or id not in entry.clicks:
            raise UserError("this point no longer exists")
        return entry, entry.clicks[id]

    def _check_place(self, entry: Entry, x: int, y: int) -> None:
        record = entry.record
        if not (0 <= x < record.width and 0 <= y < record.height):
            raise UserError(f"({x}, {y}) lies outside the image of {record.width}x{record.height}")
        if not entry.is_free((x, y)):
            raise UserError(f"pixel ({x}, {y}) already has a point; click another pixel")

    def _put(self, entry: Entry, click: Click) -> None:
        entry.put(click)
        self.unsaved[click.id] = self.version + 1

    def _take(self, entry: Entry, id: int) -> None:
        del entry.clicks[id]
        entry.packed = None
        self.unsaved.pop(id, None)


def _moved(click: Click, x: float, y: float, point: str | None = None) -> Click:
    """Returns the point at another position; the other values of its entry stay."""
    point = point or json_of([float(x), float(y)])
    return replace(click, x=float(x), y=float(y), text=replace_values(click.text, {"point": point}))
