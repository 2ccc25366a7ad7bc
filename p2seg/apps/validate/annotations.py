"""Reads COCO-style files leniently: problems are recorded, valid entries are used."""

from __future__ import annotations

import posixpath
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from p2seg.apps.validate.findings import Findings
from p2seg.apps.validate.kinds import STOPS
from p2seg.data.points import read_points
from p2seg.data.records import Category, ImageRecord
from p2seg.data.rle import MAX_PIXELS
from p2seg.data.schema import (
    categories_of,
    check_object,
    file_name_of,
    id_of,
    is_number,
    kind_of,
    storable,
)
from p2seg.errors import UserError, shown
from p2seg.runtime.files import read_json
from p2seg.structures import IGNORED

T = TypeVar("T")


@dataclass(frozen=True)
class Clicks:
    """The valid entries of a points file; points may lie outside their image.

    Attributes:
        images: in the order of the file.
        categories: sorted by id; class k is `categories[k - 1]`.
        xy: `[N, 2]` float64 pixels, as written.
        places: `[N]` int64, the index of each point's image.
        labels: `[N]` int64, classes 1..C.
        ids: `[N]` int64, ids of the annotations.
    """

    images: list[ImageRecord]
    categories: list[Category]
    xy: NDArray[np.float64]
    places: NDArray[np.int64]
    labels: NDArray[np.int64]
    ids: NDArray[np.int64]

    def of(self, place: int) -> NDArray[np.int64]:
        """Returns the indices of the points of an image."""
        return self._order[self._starts[place] : self._starts[place + 1]]

    @cached_property
    def _order(self) -> NDArray[np.int64]:
        return np.argsort(self.places, kind="stable")

    @cached_property
    def _starts(self) -> NDArray[np.int64]:
        return np.searchsorted(self.places[self._order], np.arange(len(self.images) + 1))

    @property
    def sides(self) -> NDArray[np.float64]:
        """`[N, 2]`: (width, height) of each point's image."""
        sides = np.array([(each.width, each.height) for each in self.images], np.float64)
        return sides.reshape(-1, 2)[self.places]

    @property
    def inside(self) -> NDArray[np.bool_]:
        """`[N]`: whether each point lies on its image."""
        return np.asarray(((self.xy >= 0) & (self.xy < self.sides)).all(1))

    def describe(self, k: int) -> str:
        """Describes the k-th point."""
        x, y = self.xy[k].tolist()
        name = self.images[self.places[k]].file_name
        label = self.categories[self.labels[k] - 1].name
        return f"{name}: ({x:.10g}, {y:.10g}) of {label}, annotation {self.ids[k]}"

    def name(self, k: int) -> str:
        """Returns the file name of the k-th point's image."""
        return self.images[int(self.places[k])].file_name


def read_clicks(path: Path, findings: Findings) -> Clicks:
    """Reads the valid entries of a points file.

    Args:
        path: the file.
        findings: receives the problems.

    Raises:
        UserError: the file is missing, is not JSON, or has no list of images.
    """
    content = read_json(path, "points file")
    if not isinstance(content, dict) or not isinstance(content.get("images"), list):
        raise UserError(
            f"{path} is not a points file: it must be a JSON object with images, annotations and "
            "categories (docs/reference/files.md); p2seg import_points converts files of other "
            "tools"
        )
    info = content.get("info")
    if not isinstance(info, dict | None) or not storable(info):
        findings.add("file.form", f"info is {shown(info)}; remove it")
    categories = _categories(_list(content, "categories", findings), findings)
    images, place_of = _images(content["images"], findings)
    items = _list(content, "annotations", findings)
    clicks = _clicks(items, images, place_of, categories, findings)
    if not any(each.severity == STOPS for each in findings.worst_first) and clicks.inside.all():
        _check_strictly(path, findings)
    return clicks


def _check_strictly(path: Path, findings: Findings) -> None:
    """Checks that the reader of training also accepts the file."""
    try:
        read_points(path)
    except UserError as error:
        findings.add("file.refused", str(error))


def _list(content: dict[str, Any], key: str, findings: Findings) -> list[Any]:
    items = content.get(key)
    if isinstance(items, list):
        return items
    kind = kind_of(items) if key in content else "missing"
    findings.add("file.form", f"{key} is {kind}; it must be a list")
    return []


def _checked(
    findings: Findings, kind: str, function: Callable[..., T], *arguments: Any
) -> T | None:
    """Returns the result of a check, or None after recording its error."""
    try:
        return function(*arguments)
    except UserError as error:
        findings.add(kind, str(error))
        return None


def _categories(items: list[Any], findings: Findings) -> list[Category]:
    categories: dict[int, Category] = {}
    for place, item in enumerate(items):
        if not isinstance(item, dict):
            findings.add("file.category", f"categories[{place}] is {kind_of(item)}")
            continue
        for category in _checked(findings, "file.category", categories_of, [item]) or ():
            if category.id in categories:
                findings.add("file.same_id", f"categories: {category.id}")
            else:
                categories[category.id] = category
    if len(categories) >= IGNORED:
        findings.add(
            "file.category", f"{len(categories)} categories; at most {IGNORED - 1} are allowed"
        )
    return [categories[id] for id in sorted(categories)]


def _images(items: list[Any], findings: Findings) -> tuple[list[ImageRecord], dict[int, int]]:
    records: list[ImageRecord] = []
    place_of: dict[int, int] = {}
    names: dict[str, int] = {}
    for place, item in enumerate(items):
        record = _checked(findings, "file.image", _record, item, place)
        if record is None:
            continue
        if record.id in place_of:
            findings.add("file.same_id", f"images: {record.id} ({record.file_name})")
            continue
        other = names.setdefault(posixpath.normpath(record.file_name), record.id)
        if other != record.id:
            findings.add("file.image", f"images {other} and {record.id} are {record.file_name}")
        place_of[record.id] = len(records)
        records.append(record)
    return records, place_of


def _record(item: Any, place: int) -> ImageRecord:
    check_object(item, "images", place)
    id = id_of(item, "id", f"images[{place}]")
    name = file_name_of(item.get("file_name"), id)
    height, width = item.get("height"), item.get("width")
    if type(height) is not int or type(width) is not int or height <= 0 or width <= 0:
        raise UserError(f"image {id} ({name}) has width {shown(width)}, height {shown(height)}")
    if height * width > MAX_PIXELS:
        raise UserError(
            f"image {id} ({name}) of {width}x{height} has more than {MAX_PIXELS} pixels"
        )
    return ImageRecord(id, name, height, width)


def _clicks(
    items: list[Any],
    images: list[ImageRecord],
    place_of: dict[int, int],
    categories: list[Category],
    findings: Findings,
) -> Clicks:
    label_of = {category.id: label for label, category in enumerate(categories, start=1)}
    rows: list[tuple[float, float, int, int, int]] = []
    used: set[int] = set()
    for place, item in enumerate(items):
        ids = _checked(findings, "file.annotation", _ids, item, place)
        if ids is None:
            continue
        id, image_id, category_id = ids
        if id in used:
            findings.add("file.same_id", f"annotations: {id}")
        used.add(id)
        missing = [f"image {image_id}"] * (image_id not in place_of)
        missing += [f"category {category_id}"] * (category_id not in label_of)
        if missing:
            findings.add("file.reference", f"annotation {id} refers to {' and '.join(missing)}")
            continue
        point, name = item.get("point"), images[place_of[image_id]].file_name
        if not isinstance(point, list) or len(point) != 2 or not all(map(is_number, point)):
            findings.add("points.malformed", f"annotation {id} of {name}: {shown(point)}", name)
            continue
        rows.append((*point, place_of[image_id], label_of[category_id], id))
    columns = list(zip(*rows, strict=True)) or [()] * 5
    places, labels, numbers = (np.array(column, np.int64) for column in columns[2:])
    xy = np.array(columns[:2], np.float64).T.reshape(-1, 2)
    return Clicks(images, categories, xy, places, labels, numbers)


def _ids(item: Any, place: int) -> tuple[int, int, int]:
    check_object(item, "annotations", place)
    id = id_of(item, "id", f"annotations[{place}]")
    image_id, category_id = (
        id_of(item, key, f"annotation {id}") for key in ("image_id", "category_id")
    )
    return id, image_id, category_id
