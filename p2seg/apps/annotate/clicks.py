"""The user's changes of the points of a folder of images."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from p2seg.apps.annotate.changes import action_of, size_of
from p2seg.apps.annotate.classes import place_of
from p2seg.apps.annotate.entries import Click, Entry
from p2seg.apps.annotate.history import KEPT, Action, found_in
from p2seg.apps.annotate.layout import entry_of, entry_or, is_point, json_of
from p2seg.apps.annotate.points_file import PointsFile
from p2seg.apps.annotate.proposals import Proposal
from p2seg.data.json_text import replace_values, value_of
from p2seg.data.proposals import Source
from p2seg.errors import UserError


class Clicks(PointsFile):
    """The points of a folder's images, changed one at a time.

    A change is saved in the journal next to the file; the file is written now and then. A click
    selects a pixel, and the point is the pixel's center. So coordinates are whole numbers.

    Args:
        path: see `PointsFile`.
        classes: see `PointsFile`.
    """

    def __init__(self, path: Path, classes: Sequence[str] = ()) -> None:
        super().__init__(path, classes)
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

    def accept(self, name: str, size: tuple[int, int], proposals: Sequence[Proposal]) -> None:
        """Adds proposals as points; those on the pixel of another point are removed.

        Args:
            name: name of the image.
            size: (height, width) of the image.
            proposals: pending ones; one at another position counts as corrected.

        Raises:
            UserError: a proposal is not pending, or lies outside the image.
        """
        pending = {each.id for each in self.pending(name)}
        for each in proposals:
            if each.id not in pending:
                raise UserError("this proposal no longer exists")
            self._check_inside(size, each.x, each.y)
        entry = self._entry(name, size)
        for each in proposals:
            if entry.is_free((each.x, each.y)):
                source = self.proposals.source(name, each.id, each.x, each.y)
                place = each.x, each.y
                click = self._new(entry, each.id, each.label, place, self._next_row, source)
                self._next_row += 1
                self._put(entry, click)
            else:
                self.proposals.rejected.add(each.id)
        ids = tuple(each.id for each in proposals)
        self._note(Action("accept", entry.record.id, ids=ids))
        self.note(
            "accept", self._key(name), size=size, proposals=[list(each) for each in proposals]
        )

    def reject(self, name: str, size: tuple[int, int], ids: Sequence[int]) -> None:
        """Removes pending proposals.

        Args:
            name: name of the image.
            size: (height, width) of the image.
            ids: of the proposals.

        Raises:
            UserError: a proposal is not pending.
        """
        pending = {each.id for each in self.pending(name)}
        if not pending.issuperset(ids):
            raise UserError("this proposal no longer exists")
        entry = self._entry(name, size)
        self.proposals.rejected.update(ids)
        self._note(Action("reject", entry.record.id, ids=tuple(ids)))
        self.note("reject", self._key(name), size=size, ids=list(ids))

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
        self._put(entry, self._moved(name, click, x, y))
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
        if id in self.proposals.ids:  # it must not be proposed again
            self.proposals.rejected.add(id)
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
            What was undone, for the user; None if nothing can be undone.
        """
        entry = self._known(name)
        if entry is None or (not entry.is_listed and size not in (None, entry.size)):
            return None  # the file was replaced since
        for action in [each for each in self._history if each.image_id == entry.record.id][::-1]:
            told = self.take_back(name, action)
            if told is not None:
                return told
        return None

    def take_back(self, name: str, action: Action) -> str | None:
        """Undoes an action on an image, and forgets it and the later ones on that image.

        Returns:
            What that was, in words; None where it can no longer be undone.
        """
        entry = self._known(name)
        if entry is None:
            return None
        own = [each for each in self._history if each.image_id == entry.record.id]
        place = found_in(own, action)
        gone = own[place:]
        self._history = [each for each in self._history if all(each is not one for one in gone)]
        told = self._undone(name, entry, gone[0] if gone else replace(action, row=None))
        if told is not None:
            self.version += 1
            self.note("undo", self._key(name), action=action.content)
        return told

    def make(self, do: str, name: str, values: dict[str, Any]) -> object:
        """Makes a change of the journal again."""
        if do == "undo":
            return self.take_back(name, action_of(values))
        if do in ("add", "done", "accept", "reject"):
            values["size"] = size_of(values)
        if do == "accept":
            values["proposals"] = [Proposal(*each) for each in values["proposals"]]
        own: dict[str, Callable[..., object]] = {
            "add": self.add,
            "move": self.move,
            "remove": self.remove,
            "done": self.mark_done,
            "accept": self.accept,
            "reject": self.reject,
        }
        return own[do](name, **values)

    def _undone(self, name: str, entry: Entry, action: Action) -> str | None:
        """Undoes an action; returns None if the action no longer applies."""
        if action.do == "done":
            was, entry.done = entry.done, False
            return "the mark of an empty image" if was else None
        if action.do in ("accept", "reject"):
            for each in action.ids:
                if each in entry.clicks:
                    self._take(entry, each)
            self.proposals.rejected.difference_update(action.ids)
            return f"{action.do}ing {len(action.ids):,} proposed objects"
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
            self.proposals.rejected.discard(id)
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
        self._put(entry, self._moved(name, entry.clicks[id], x, y, action.was if known else None))
        return "a move"

    def _new(
        self,
        entry: Entry,
        id: int,
        label: int,
        point: tuple[float, float],
        row: int,
        source: Source | None = None,
    ) -> Click:
        x, y = map(float, point)
        text = entry_of(id, entry.record.id, self.categories[label - 1].id, x, y, source)
        return Click(id, label, x, y, row, text)

    def _note(self, action: Action) -> None:
        self._history = [*self._history[1 - KEPT :], action]
        self.version += 1

    def _find(self, name: str, id: int) -> tuple[Entry, Click]:
        entry = self._known(name)
        if entry is None or id not in entry.clicks:
            raise UserError("this point no longer exists")
        return entry, entry.clicks[id]

    def _check_inside(self, size: tuple[int, int], x: int, y: int) -> None:
        height, width = size
        if not (0 <= x < width and 0 <= y < height):
            raise UserError(f"({x}, {y}) lies outside the image of {width}x{height}")

    def _check_place(self, entry: Entry, x: int, y: int) -> None:
        self._check_inside(entry.size, x, y)
        if not entry.is_free((x, y)):
            raise UserError(f"pixel ({x}, {y}) already has a point; click another pixel")

    def _put(self, entry: Entry, click: Click) -> None:
        entry.put(click)
        self.unsaved[click.id] = self.version + 1

    def _take(self, entry: Entry, id: int) -> None:
        del entry.clicks[id]
        entry.packed = None
        self.unsaved.pop(id, None)

    def _moved(
        self, name: str, click: Click, x: float, y: float, point: str | None = None
    ) -> Click:
        """Returns the point at another position; the other values of its entry stay."""
        values = {"point": point or json_of([float(x), float(y)])}
        if value_of(click.text, "source") in ('"proposed"', '"corrected"'):
            values["source"] = json_of(self.proposals.source(name, click.id, x, y))
        return replace(click, x=float(x), y=float(y), text=replace_values(click.text, values))
