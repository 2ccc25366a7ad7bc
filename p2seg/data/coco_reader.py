"""Reader of the images, categories and annotations of a COCO-style JSON file.

Instance files and points files share it. It checks ids, names, sizes and references.
"""

from __future__ import annotations

import gc
import posixpath
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from p2seg.data.compact_lists import Column
from p2seg.data.dialects import Notes, whole
from p2seg.data.json_lists import read_lists
from p2seg.data.records import Category, ImageRecord, PackedImages
from p2seg.data.rle import MAX_PIXELS
from p2seg.data.schema import (
    DEEPEST,
    MAX_ID,
    categories_of,
    check_object,
    classes_of,
    file_name_of,
    id_of,
    kind_of,
    list_of,
    naming,
    shown,
    storable,
    text_of_name,
)
from p2seg.errors import UserError


@dataclass(frozen=True)
class Chunk:
    """Annotations with checked ids and images; their other fields are unchecked.

    Attributes:
        ids: annotation ids.
        places: int64, the index of the image of each annotation.
        contents: the JSON objects.
        images: of the file.
        notes: of the file; receives what is read differently from how it is written.
    """

    ids: list[int]
    places: NDArray[np.int64]
    contents: list[dict[str, Any]]
    images: PackedImages
    notes: Notes

    @property
    def sides(self) -> NDArray[np.int64]:
        """`[N, 2]` int64: (height, width) of the image of each annotation."""
        return self.images.sides[self.places].astype(np.int64)


@dataclass(frozen=True)
class CocoFile:
    """A COCO-style file with its references checked.

    Attributes:
        images: in the file's order.
        categories: sorted by id.
        ids: int64, annotation ids in the file's order.
        labels: int32, class index 1..C of each annotation.
        rows: int64, indices of the annotations in the file, sorted by image in the order of
            `images`, and within an image in the order of the file.
        starts: int64, where in `rows` each image begins, and where the last one ends.
        info: the file's `info` object.
        notes: what is read differently from how it is written.
    """

    images: PackedImages
    categories: list[Category]
    ids: NDArray[np.int64]
    labels: NDArray[np.int32]
    rows: NDArray[np.int64]
    starts: NDArray[np.int64]
    info: dict[str, Any]
    notes: Notes


def read_coco_file(
    path: Path,
    what: str,
    take: Callable[[Chunk], None],
    *,
    ours: bool = False,
    name_of: Callable[[str], str] | None = None,
) -> CocoFile:
    """Reads a COCO-style JSON file and checks ids, names, sizes and references.

    Annotations are decoded in chunks, so that they are never all in memory.

    Args:
        path: the file.
        what: what the file should be, for the error ("points file").
        take: called with each chunk in the order of the file; checks and stores the other fields.
        ours: only p2seg writes such files; each of their categories is a class.
        name_of: converts a `file_name` to a path below the image folder; None: it is one already.

    Returns:
        The checked file, without the fields that `take` stores.

    Raises:
        UserError: the file is missing, no JSON or not of this form; the sentence says where.
    """
    with _no_collections():
        return _read(path, what, take, ours, name_of)


def _read(
    path: Path,
    what: str,
    take: Callable[[Chunk], None],
    ours: bool,
    name_of: Callable[[str], str] | None,
) -> CocoFile:
    notes = Notes()
    content, parts = read_lists(path, what, ("images", "annotations"))
    with naming(path):
        if not isinstance(content, dict):
            raise UserError(
                f"it is {kind_of(content)}, not a JSON object with images, annotations, categories"
            )
        for key in ("images", "annotations", "categories"):
            list_of(content, key)
    every = _Images(notes, name_of)
    for items in parts["images"]:
        with naming(path):
            every.add(items)
    images = every.packed()
    annotations = _Annotations(images, every.place_of, take, notes)
    for items in parts["annotations"]:
        with naming(path):
            annotations.add(items)
    with naming(path):
        info = content.get("info")
        if info is not None and not isinstance(info, dict):
            raise UserError(f"its info is {kind_of(info)}; make it an object or leave it out")
        if not storable(info):
            raise UserError(
                "its info holds what no JSON can (NaN, infinity or half a letter), or more than "
                f"{DEEPEST} levels; leave that out"
            )
        listed = content["categories"]
        used = annotations.used()
        classes = categories_of(listed) if ours else classes_of(listed, used, notes)
        ids = annotations.checked_ids()
        labels = annotations.labels(classes)
        rows, starts = annotations.by_image(len(images))
        return CocoFile(images, classes, ids, labels, rows, starts, info or {}, notes)


@contextmanager
def _no_collections() -> Iterator[None]:
    """Turns off the garbage collector: decoded JSON has no cycles, and the search is slow."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


class _Images:
    """The images of a file, a part at a time.

    Attributes:
        place_of: the index of each image by its id.
    """

    def __init__(self, notes: Notes, name_of: Callable[[str], str] | None) -> None:
        self.notes, self.name_of = notes, name_of
        self.place_of: dict[int, int] = {}
        self._records: list[ImageRecord] = []
        self._ids: dict[str, int] = {}

    def add(self, items: list[Any]) -> None:
        """Checks images and keeps them."""
        for place, item in enumerate(items, start=len(self._records)):
            check_object(item, "images", place)
            id = id_of(item, "id", f"images[{place}]", self.notes)
            if id in self.place_of:
                raise UserError(f"two images have id {id}; image ids must differ")
            self.place_of[id] = place
            name = item.get("file_name")
            if self.name_of is not None:
                name = self.name_of(text_of_name(name, id))
            name = file_name_of(name, id)
            other = self._ids.setdefault(posixpath.normpath(name), id)
            if other != id:
                raise UserError(f"images {other} and {id} are the same file {name}; remove one")
            self._records.append(_record(id, name, item))

    def packed(self) -> PackedImages:
        """All images as arrays; none can be added afterward."""
        packed = PackedImages(self._records)
        del self._records, self._ids
        return packed


def _record(id: int, name: str, item: dict[str, Any]) -> ImageRecord:
    height, width = (whole(item.get(key)) for key in ("height", "width"))
    if type(height) is not int or type(width) is not int or height <= 0 or width <= 0:
        raise UserError(
            f"image {id} ({name}) has width {shown(width)} and height {shown(height)}; both "
            "must be whole numbers above 0"
        )
    if height * width > MAX_PIXELS:
        raise UserError(
            f"image {id} ({name}) of {shown(width)}x{shown(height)} has too many pixels, more "
            f"than {MAX_PIXELS}; cut it into tiles"
        )
    return ImageRecord(id=id, file_name=name, height=height, width=width)


class _Annotations:
    """The annotations of a file, a part at a time."""

    def __init__(
        self,
        images: PackedImages,
        place_of: dict[int, int],
        take: Callable[[Chunk], None],
        notes: Notes,
    ) -> None:
        self.images, self.place_of = images, place_of
        self.take, self.notes = take, notes
        self.count = 0
        self.ids, self.places, self.categories = (Column(np.int64) for _ in range(3))

    def add(self, items: list[Any]) -> None:
        """Checks annotations and passes them to `take`."""
        for place, item in enumerate(items, start=self.count):
            check_object(item, "annotations", place)
        values: list[list[Any]] = [
            [item.get(key) for item in items] for key in ("id", "image_id", "category_id")
        ]
        if not all(map(_are_ids, values)) or not self.place_of.keys() >= set(values[1]):
            values = self._one_by_one(items)
        places = [self.place_of[image] for image in values[1]]
        self.count += len(items)
        for column, each in zip(
            (self.ids, self.places, self.categories), (values[0], places, values[2]), strict=True
        ):
            column.add(each)
        chunk = Chunk(values[0], np.array(places, np.int64), items, self.images, self.notes)
        self.take(chunk)

    def _one_by_one(self, items: list[dict[str, Any]]) -> list[list[Any]]:
        """Ids, image ids and category ids; raises an error for the first wrong one."""
        values: list[list[Any]] = [[], [], []]
        for index, item in enumerate(items, start=self.count):
            id = id_of(item, "id", f"annotations[{index}]", self.notes)
            image_id = id_of(item, "image_id", f"annotation {id}", self.notes)
            if image_id not in self.place_of:
                raise UserError(
                    f"annotation {id} is of image {image_id}, which is not listed; "
                    "fix its image_id or add the image"
                )
            category_id = id_of(item, "category_id", f"annotation {id}", self.notes)
            for column, value in zip(values, (id, image_id, category_id), strict=True):
                column.append(value)
        return values

    def used(self) -> set[int]:
        """Ids of the categories that have annotations."""
        return set(np.unique(self.categories.array()).tolist())

    def checked_ids(self) -> NDArray[np.int64]:
        """Ids of all annotations.

        Raises:
            UserError: two annotations have the same id.
        """
        ids = self.ids.array()
        order = np.argsort(ids, kind="stable")
        again = order[1:][ids[order[1:]] == ids[order[:-1]]]
        if len(again):
            raise UserError(
                f"two annotations have id {ids[again.min()]}; annotation ids must differ"
            )
        return ids

    def labels(self, categories: list[Category]) -> NDArray[np.int32]:
        """Class index of each annotation.

        Raises:
            UserError: a category is not listed.
        """
        known = np.array([category.id for category in categories], np.int64)
        given = self.categories.array()
        places = np.searchsorted(known, given)
        unknown = np.append(known, -1)[places] != given
        if unknown.any():
            first = int(unknown.argmax())
            raise UserError(
                f"annotation {self.ids.array()[first]} is of category {given[first]}, which is "
                "not listed; fix its category_id or add the category"
            )
        return (places + 1).astype(np.int32)

    def by_image(self, images: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """`rows` and `starts` of the file."""
        places = self.places.array()
        counts = np.bincount(places, minlength=images)
        return np.argsort(places, kind="stable"), np.concatenate([[0], np.cumsum(counts)])


def _are_ids(values: list[Any]) -> bool:
    """Whether all values are valid ids that are written as integers."""
    return set(map(type, values)) == {int} and min(values) >= 0 and max(values) <= MAX_ID
