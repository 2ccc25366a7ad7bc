"""COCO: one JSON with clicks from keypoints, masks or boxes.

Keypoints are pixel indices, as in Detectron2 and p2seg: the center of the first pixel is (0, 0).
Boxes and polygons run along pixel edges.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from p2seg.data.coco_variants import (
    ALL_CROWDS,
    BOXED,
    CROWDS,
    Notes,
    is_crowd,
    number,
    repaired,
    whole,
)
from p2seg.data.schema import (
    Category,
    any_file_name,
    classes_of,
    id_of,
    is_number,
    list_of,
    naming,
)
from p2seg.errors import UserError, shown
from p2seg.formats.points.base import Found, Mark, Picture, Reading, files_at, json_of, size_from
from p2seg.formats.points.regions import Coded, Region, box
from p2seg.formats.points.writer import Writing
from p2seg.runtime.json_streams import write_json_object

POINT = "click"
"""The only keypoint of the categories that p2seg writes."""


def read(path: Path, reading: Reading) -> Found:
    """Reads a COCO file.

    Args:
        path: the file.
        reading: which keypoint is the click.

    Raises:
        UserError: the file is not a valid COCO JSON.
    """
    files = files_at(path, (".json",), "COCO JSONs")
    if len(files) > 1:
        raise UserError(f"{path} has {len(files)} JSONs, but COCO is one file; give in=FILE")
    file = files[0]
    content = json_of(file, "COCO JSON")
    if not is_coco(content):
        raise UserError(
            f"{file} has no images, annotations and categories, so it is not a COCO file; "
            "give in=FILE"
        )
    with naming(file):
        return _read(file, content, reading)


def is_coco(content: Any) -> bool:
    """Whether the content of a JSON is COCO's."""
    return isinstance(content, dict) and {"images", "annotations", "categories"} <= set(content)


def _read(file: Path, content: dict[str, Any], reading: Reading) -> Found:
    notes = Notes()
    items, annotations = list_of(content, "categories"), list_of(content, "annotations")
    used = {whole(item.get("category_id")) for item in annotations if _has_category(item)}
    categories = classes_of(items, used, notes)
    points = {whole(item["id"]): item.get("keypoints") for item in items}
    found = Found(
        classes=[c.name for c in categories], class_ids=[c.id for c in categories], notes=notes
    )
    _check_keypoint(points, reading)
    pictures: dict[int, Picture] = {}
    for place, item in enumerate(list_of(content, "images")):
        id = id_of(item, "id", f"images[{place}]", notes)
        if id in pictures:
            raise UserError(f"two images have id {id}; image ids must differ")
        pictures[id] = Picture(("",), [], str(file), None, id)
        with found.entry(), naming(file):
            name = any_file_name(item.get("file_name"), id)
            size = size_from(item.get("height"), item.get("width"), f"image {id}")
            pictures[id] = replace(pictures[id], names=(name,), size=size)
            found.pictures.append(pictures[id])
    by_id = {category.id: category for category in categories}
    entries = list[_Entry]()
    for place, item in enumerate(annotations):
        with found.entry(), naming(file):
            id = id_of(item, "id", f"annotations[{place}]", notes)
            picture = pictures.get(image := id_of(item, "image_id", f"annotation {id}", notes))
            if picture is None:
                raise UserError(f"annotation {id} has image_id {image}, which is not in images")
            label = _label(item, id, by_id, reading, notes)
            crowd = is_crowd(item, id, notes)
            entries.append(_Entry(id, item, picture, label, crowd))
    if entries and all(entry.crowd for entry in entries):  # a wrong flag, not a set of crowds
        notes[ALL_CROWDS] += len(entries)
        entries = [replace(entry, crowd=False) for entry in entries]
    for entry in entries:
        if entry.crowd:
            found.left_out[CROWDS] += 1
            continue
        with found.entry(), naming(file):
            names = points.get(whole(entry.item.get("category_id")))
            mark = _mark(entry, names, reading, found)
            if mark is not None:
                entry.picture.marks.append(mark)
    return found


@dataclass(frozen=True)
class _Entry:
    """An annotation whose ids are valid and whose other fields are unchecked."""

    id: int
    item: dict[str, Any]
    picture: Picture
    label: str
    crowd: bool


def _has_category(item: dict[str, Any]) -> bool:
    return type(whole(item.get("category_id"))) is int


def _label(
    item: dict[str, Any], id: int, by_id: dict[int, Category], reading: Reading, notes: Notes
) -> str:
    """The class of an annotation. Null stands for the only class of `reading.classes`."""
    if item.get("category_id") is None:
        if reading.classes is not None and len(reading.classes) == 1:
            return reading.classes[0]
        raise UserError(
            f"annotation {id} has no category_id; give it one, or give all such annotations a "
            "class with classes=[NAME], or skip it with data.on_error=skip"
        )
    category = by_id.get(id_of(item, "category_id", f"annotation {id}", notes))
    if category is None:
        raise UserError(
            f"annotation {id} has category_id {shown(item['category_id'])}, which is not in "
            "categories"
        )
    return category.name


def _check_keypoint(points: dict[int, Any], reading: Reading) -> None:
    known = sorted(
        {n for names in points.values() if isinstance(names, list) for n in map(str, names)}
    )
    if reading.keypoint is not None and reading.keypoint not in known:
        has = f"it has {', '.join(map(shown, known[:20]))}" if known else "it has none"
        raise UserError(f"keypoint={reading.keypoint} is no keypoint of its categories; {has}")


def _mark(entry: _Entry, names: Any, reading: Reading, found: Found) -> Mark | None:
    """The object of an annotation, or None if it has no usable keypoint, mask or box."""
    id, label, item = entry.id, entry.label, entry.item
    where = f"annotation {id}"
    click = item.get("point")
    if click is not None:  # p2seg files of points and masks
        x, y = _numbers(click, 2, f"{where}: its point")
        return Mark(label, (y, x), where, id)
    if item.get("keypoints"):
        yx = _keypoint(item["keypoints"], names, reading, where)
        if yx is not None:
            return Mark(label, yx, where, id)
        if reading.keypoint is not None:
            found.left_out[f"objects without the keypoint {shown(reading.keypoint)}"] += 1
            return None
    before = found.notes[BOXED]
    item = repaired(item, entry.picture.size, found.notes)
    region: Region
    if item.get("segmentation") and found.notes[BOXED] == before:
        region = Coded(item["segmentation"])
    elif item.get("bbox"):
        x, y, width, height = _numbers(item["bbox"], 4, f"{where}: its bbox")
        region = replace(box(x, y, x + width, y + height), on_edges=True)
    else:
        found.left_out["annotations without keypoint, mask and box"] += 1
        return None
    return Mark(label, region, where, id)


def _keypoint(values: Any, names: Any, reading: Reading, where: str) -> tuple[float, float] | None:
    """The click (y, x) from an object's keypoints: `reading.keypoint`, else the most central one.

    The most central one is the labeled keypoint nearest to the mean of all labeled ones. Unlike
    the mean itself, it lies on the object.
    """
    count = len(values) // 3 if isinstance(values, list) else 0
    numbers = np.array(_numbers(values, 3 * max(count, 1), f"{where}: its keypoints"))
    triples = numbers.reshape(-1, 3)
    if reading.keypoint is not None:
        if not isinstance(names, list) or reading.keypoint not in names:
            return None
        at = names.index(reading.keypoint)
        if at >= len(triples) or triples[at, 2] <= 0:
            return None
        return float(triples[at, 1]), float(triples[at, 0])
    labeled = triples[triples[:, 2] > 0, :2]
    if not len(labeled):
        return None
    distances = ((labeled - labeled.mean(0)) ** 2).sum(1)
    x, y = labeled[int(distances.argmin())].tolist()
    return y, x


def _numbers(values: Any, count: int, where: str) -> list[float]:
    numbers = [number(value) for value in values] if isinstance(values, list) else []
    if len(numbers) != count or not all(map(is_number, numbers)):
        raise UserError(f"{where} is {shown(values)}; it must be {count} numbers")
    return [float(value) for value in numbers]


def write(writing: Writing) -> str:
    """Writes COCO keypoints: one keypoint per object, and a box of one pixel around it."""
    category_of = {each.name: each.id for each in writing.points.categories}
    annotations = (
        {
            "id": click.id,
            "image_id": record.id,
            "category_id": category_of[click.label],
            "keypoints": [click.x, click.y, 2],
            "num_keypoints": 1,
            "bbox": [max(click.x - 0.5, 0.0), max(click.y - 0.5, 0.0), 1.0, 1.0],
            "area": 1.0,
            "iscrowd": 0,
        }
        for record, clicks in writing.images()
        for click in clicks
    )
    categories = [
        {"id": each.id, "name": each.name, "keypoints": [POINT], "skeleton": []}
        for each in writing.points.categories
    ]
    write_json_object(
        writing.out,
        {
            "images": map(vars, writing.points.images),
            "annotations": annotations,
            "categories": categories,
        },
    )
    return f"{writing.out} is a COCO file of keypoints"
