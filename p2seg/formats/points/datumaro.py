"""Datumaro: one JSON per subset below `annotations/`, with items whose shapes are in pixels.

Points are as in CVAT: the first pixel covers 0 to 1.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from p2seg.data.schema import is_number
from p2seg.errors import UserError, shown
from p2seg.formats.points.base import (
    ID_KEY,
    Found,
    Mark,
    Picture,
    Place,
    Reading,
    files_at,
    id_from,
    json_of,
    label_of,
    list_at,
    object_of,
    size_from,
)
from p2seg.formats.points.regions import Coded, Outline, box, ellipse

INVISIBLE = 0
"""Datumaro's visibility value of an absent point."""


def read(path: Path, _: Reading) -> Found:
    """Reads Datumaro files.

    Args:
        path: a JSON, or a folder with one JSON per subset.
        _: unused.

    Raises:
        UserError: no JSON exists, or one is not readable.
    """
    found = Found(classes=[])
    for file in files_at(path, (".json",), "Datumaro JSONs"):
        content = json_of(file, "Datumaro JSON")
        if not is_datumaro(content):
            raise UserError(
                f"{file} has no items and no label categories, so it is not a Datumaro JSON; "
                "give in=FILE"
            )
        _read(file, content, found)
    return found


def is_datumaro(content: Any) -> bool:
    """Whether the content of a JSON is Datumaro's."""
    if not isinstance(content, dict) or not isinstance(content.get("items"), list):
        return False
    return isinstance(content.get("categories"), dict)


def _read(file: Path, content: dict[str, Any], found: Found) -> None:
    listed = object_of(content["categories"].get("label", {}), f"{file}: its label category")
    names = [
        label_of(object_of(each, f"{file}: a label").get("name"), f"{file}: a label category")
        for each in list_at(listed, "labels", str(file))
    ]
    found.classes = list(dict.fromkeys([*(found.classes or ()), *names]))
    for place, item in enumerate(content["items"]):
        with found.entry():
            item = object_of(item, f"{file}: items[{place}]")
            found.pictures.append(_picture(item, file, file.stem, names, found))


def _picture(
    item: dict[str, Any], file: Path, subset: str, names: list[str], found: Found
) -> Picture:
    id = item.get("id")
    id = str(id) if type(id) is int else id
    if not isinstance(id, str) or not id:
        raise UserError(f"{file}: an item has the id {shown(id)}; it must be a name")
    where = f"{file}: item {shown(id)}"
    image = object_of(item.get("image") or {}, f"{where}: its image")
    size = image.get("size") or [None, None]
    if not isinstance(size, list) or len(size) != 2:
        raise UserError(f"{where} has the size {shown(size)}; it must be [height, width]")
    marks = []
    for number, each in enumerate(list_at(item, "annotations", where), start=1):
        with found.entry():
            marks += _marks(each, names, where, f"annotation {number}", found)
    path = image.get("path")
    # Datumaro keeps the images of a subset in a folder with the subset's name.
    names_of_image = [f"{subset}/{path}", path] if isinstance(path, str) and path else []
    names_of_image += [f"{subset}/{id}", id]
    return Picture(tuple(names_of_image), marks, where, size_from(size[0], size[1], where))


def _marks(each: Any, names: list[str], image: str, where: str, found: Found) -> list[Mark]:
    """The objects of an annotation. Only `points` can be several."""
    whole = f"{image}: {where}"
    each = object_of(each, whole)
    kind = each.get("type")
    if kind not in ("points", "bbox", "polygon", "mask", "ellipse", "rotated_bbox"):
        found.left_out[f"annotations of the type {shown(kind)}"] += 1
        return []
    attributes = each.get("attributes")
    attributes = attributes if isinstance(attributes, dict) else {}
    id = id_from(attributes.get(ID_KEY))
    group = id_from(each.get("group")) or None  # 0 is none
    label = _label(each.get("label_id"), names, whole)
    turn: Any = attributes.get("rotation")  # of CVAT's boxes and ellipses, about their center
    places = _places(each, kind, float(turn) if is_number(turn) else 0.0, whole)
    if kind == "points" and len(each["points"]) > 2 * len(places):
        found.left_out["points that are absent"] += len(each["points"]) // 2 - len(places)
    id = id if len(places) == 1 else None
    return [Mark(label, at, where, id, group) for at in places]


def _label(value: Any, names: list[str], whole: str) -> str:
    if value is None:
        return ""
    number = id_from(value)
    if number is None or number >= len(names):
        raise UserError(f"{whole} has label_id {shown(value)}; the file lists {len(names)} labels")
    return names[number]


def _places(each: dict[str, Any], kind: str, turn: float, whole: str) -> list[Place]:
    if kind == "mask":
        return [Coded(each.get("rle"))]
    key = "bbox" if "bbox" in each else "points"
    values = each.get(key)
    if not isinstance(values, list) or not all(map(is_number, values)):
        values = [0.0]  # an odd count, reported below
    if kind == "rotated_bbox" and len(values) == 5:  # about its center
        x, y, width, height, turn = values
        return [box(x - width / 2, y - height / 2, x + width / 2, y + height / 2, turn)]
    if len(values) % 2:
        raise UserError(f"{whole} has {key} {shown(each.get(key))}; they must be pairs of numbers")
    corners = list(zip(values[::2], values[1::2], strict=True))
    if kind == "points":
        visible = each.get("visibility")
        if isinstance(visible, list) and len(visible) == len(corners):
            corners = [c for c, flag in zip(corners, visible, strict=True) if flag != INVISIBLE]
        return [(float(y), float(x)) for x, y in corners]
    if kind == "polygon":
        return [Outline(corners)]
    if len(values) != 4:
        raise UserError(f"{whole} has {key} of {len(values)} numbers; a {kind} has four")
    if kind == "ellipse":
        x0, y0, x1, y1 = values
        return [ellipse((x0 + x1) / 2, (y0 + y1) / 2, (x1 - x0) / 2, (y1 - y0) / 2, turn)]
    x, y, width, height = values
    return [box(x, y, x + width, y + height, turn)]
