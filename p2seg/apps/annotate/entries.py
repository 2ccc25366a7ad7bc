"""Clicked points, images with their points, and all images of a points file."""

from __future__ import annotations

import math
import posixpath
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any
from unicodedata import normalize

import torch

from p2seg.apps.annotate.history import ids_of, is_id
from p2seg.apps.annotate.layout import Layout, entry_or, json_of
from p2seg.apps.annotate.proposals import Proposal
from p2seg.data.points import PointSet
from p2seg.data.records import ImageRecord
from p2seg.data.rle import MAX_PIXELS
from p2seg.data.schema import MAX_ID, file_name_of
from p2seg.errors import UserError
from p2seg.structures import Points

ROOM = 10**9
"""Fewest ids that must be free for new points."""


@dataclass(frozen=True)
class Click:
    """A point.

    Attributes:
        id: annotation id.
        label: class, 1..C.
        x, y: position in pixels.
        row: position in the file's order; the row of a removed point stays reserved.
        text: its JSON entry in the file.
    """

    id: int
    label: int
    x: float
    y: float
    row: int
    text: str


@dataclass
class Entry:
    """An image of the points file.

    Attributes:
        record: id, name and size of the image.
        text: its JSON entry in the file.
        clicks: clicks by id, in the order of their rows.
        given: the file lists the image without points, so it stays in the file.
        done: the user marked the image as empty.
        packed: the points as tensors, or None after a change.
    """

    record: ImageRecord
    text: str
    clicks: dict[int, Click] = field(default_factory=dict)
    given: bool = False
    done: bool = False
    packed: Points | None = None

    @property
    def is_listed(self) -> bool:
        """Whether the file lists the image. Other tools treat one without points as empty."""
        return bool(self.clicks) or self.done or self.given

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) at which the image was annotated."""
        return self.record.height, self.record.width

    def put(self, click: Click) -> None:
        """Adds or changes a point."""
        self.clicks[click.id], self.packed = click, None
        self.clicks = dict(sorted(self.clicks.items(), key=lambda each: each[1].row))

    @property
    def points(self) -> Points:
        """The points as `Points`."""
        if self.packed is None:
            self.packed = points_of(list(self.clicks.values()))
        return self.packed

    def is_free(self, point: tuple[float, float] | None) -> bool:
        """Returns whether (x, y) lies on a pixel of the image that has no point."""
        x, y = map(math.floor, point or (-1, -1))
        inside = 0 <= x < self.record.width and 0 <= y < self.record.height
        taken = ((math.floor(each.x), math.floor(each.y)) for each in self.clicks.values())
        return inside and (x, y) not in taken


def points_of(clicks: Sequence[Click | Proposal]) -> Points:
    """Returns clicks and proposals of an image as `Points`."""
    return Points(
        yx=torch.tensor([(each.y, each.x) for each in clicks], dtype=torch.float32).reshape(-1, 2),
        labels=torch.tensor([each.label for each in clicks], dtype=torch.int64),
        ids=torch.tensor([each.id for each in clicks], dtype=torch.int64),
    )


def entries_of(
    known: PointSet, layout: Layout, page_state: dict[str, Any], taken: Collection[int]
) -> dict[str, Entry]:
    """Returns the images of a points file and those that the page remembers, by name.

    Args:
        known: the content of the file.
        layout: the text of the file.
        page_state: see `remembered`. Invalid values, which other programs can write, are ignored.
        taken: rows that are reserved for removed points.
    """
    texts = layout.annotations.items
    free = (row for row in count() if row not in taken)
    rows = dict(zip(texts, free, strict=False))
    done, given = set(ids_of(page_state.get("done"))), set(ids_of(page_state.get("given")))
    entries = []
    for record, points in zip(known.images, known.points, strict=True):
        places = zip(points.ids.tolist(), points.labels.tolist(), points.yx.tolist(), strict=True)
        clicks = {id: Click(id, label, x, y, rows[id], texts[id]) for id, label, (y, x) in places}
        empty = record.id in done and not clicks
        listed = record.id in given or not (clicks or empty)
        text = layout.images.items[record.id]
        entries.append(Entry(record, text, clicks, listed, empty, points))
    ids = {entry.record.id for entry in entries}
    names = {_name(entry) for entry in entries}
    emptied = page_state.get("emptied")
    for item in emptied if isinstance(emptied, list) else []:
        entry = _emptied(item)
        if entry is not None and entry.record.id not in ids and _name(entry) not in names:
            ids.add(entry.record.id)
            names.add(_name(entry))
            entries.insert(item["place"], entry)
    return {_name(entry): entry for entry in entries}


def aliases_of(names: Collection[str], known: Collection[str]) -> dict[str, str]:
    """Maps names to known names that differ only in the Unicode form.

    Some programs store an accented letter as one character (NFC), others as two (NFD). If several
    names differ only in this, each name is mapped to itself only.
    """
    new = _by_form(set(names) - set(known))
    old = _by_form(set(known) - set(names))
    pairs = ((same, old.get(form, [])) for form, same in new.items())
    return {first[0]: second[0] for first, second in pairs if len(first) == len(second) == 1}


def _by_form(names: Iterable[str]) -> dict[str, list[str]]:
    forms: dict[str, list[str]] = {}
    for name in names:
        forms.setdefault(normalize("NFC", name), []).append(name)
    return forms


def remembered(entries: Iterable[Entry]) -> dict[str, Any]:
    """Returns the page's state of images that is not in the file's lists.

    An image without its last point is not listed, but keeps its id and position.
    """
    placed = list(enumerate(entries))
    return {
        "done": [each.record.id for _, each in placed if each.done],
        "given": [
            each.record.id for _, each in placed if each.given and (each.clicks or each.done)
        ],
        "emptied": [
            {**vars(each.record), "place": place, "text": each.text}
            for place, each in placed
            if not each.is_listed
        ],
    }


def first_free(ids: list[int], page_state: dict[str, Any], key: str) -> int:
    """Returns the first id that was never used.

    Args:
        ids: the used ids.
        page_state: the page's state in the file.
        key: the key of the state that stores the next id.

    Raises:
        UserError: too few ids are free.
    """
    [stored] = ids_of([page_state.get(key)]) or [1]
    first = max([stored, 1, *(id + 1 for id in ids)])
    if first > MAX_ID - ROOM:
        raise UserError(f"ids reach {first - 1}, which leaves none for new points; renumber them")
    return first


def _name(entry: Entry) -> str:
    return posixpath.normpath(entry.record.file_name)


def _emptied(item: Any) -> Entry | None:
    """Parses an image of `emptied`; None if it is invalid."""
    if not isinstance(item, dict):
        return None
    id, place = item.get("id"), item.get("place")
    height, width = item.get("height"), item.get("width")
    if not (is_id(id) and is_id(place) and is_id(height) and is_id(width)):
        return None
    try:
        name = file_name_of(item.get("file_name"), id)
    except UserError:
        return None
    if not 0 < height * width <= MAX_PIXELS:
        return None
    record = ImageRecord(id, name, height, width)
    return Entry(record, entry_or(item.get("text"), json_of(vars(record)), record))
