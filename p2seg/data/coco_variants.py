"""Converts COCO annotations of other tools to the form that the checks expect.

All readers of COCO files call these functions before their checks, so that they read the same
objects. An annotation that cannot be converted is returned unchanged, and the checks report it.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection
from itertools import chain, groupby
from typing import Any, TypeGuard

from p2seg.data import rle as codec
from p2seg.errors import UserError, shown

Notes = Counter[str]
"""Counts of converted values, by kind of conversion."""

BOXED = "no usable mask, so the box of the annotation is used"
PARTLY = "a broken part of a mask is skipped, and its other parts are used"
UNUSUAL = "a mask in an unusual form is read"
NUMBERS = "an id as text or with a decimal point is read as an integer"
CVAT = "a mask of CVAT with iscrowd=1 is read as a single object"
ALL_CROWDS = "a mask with iscrowd=1 is read as a single object, as the file has no others"
CROWDS = "crowds; if they are single objects, set their iscrowd to 0"

_WHOLE = re.compile(r"[0-9]{1,19}(\.0*)?", re.ASCII)
_BACKGROUNDS = frozenset({"background", "_background_", "__background__", "_ignore_", "__ignore__"})
_NUMBERS = frozenset({int, float})
_MANY = 8
"""A list of at least this many rows of the same length is a bitmap, not a list of polygons."""


def whole(value: Any) -> Any:
    """Converts an integer that is written as text or with a decimal point; else the value."""
    if type(value) is str and _WHOLE.fullmatch(value):
        return int(value.partition(".")[0])
    if type(value) is float and value.is_integer() and abs(value) < 2**53:
        return int(value)
    return value


def number(value: Any) -> Any:
    """Converts a number that is written as text; returns any other value unchanged."""
    if type(value) is not str or len(value) > 40:
        return value
    try:
        return float(value)
    except ValueError:
        return value


def is_crowd(content: dict[str, Any], id: int, notes: Notes) -> bool:
    """Whether an annotation is a region of many objects.

    CVAT sets `iscrowd` for each mask that was drawn with its brush, so it is ignored there.

    Raises:
        UserError: `iscrowd` is neither 0 nor 1.
    """
    value = whole(content.get("iscrowd") or 0)
    if type(value) not in (bool, int) or value not in (0, 1):
        raise UserError(f"annotation {id} has iscrowd {shown(value)}; it must be 0 or 1")
    if value and is_brush_mask(content):
        notes[CVAT] += 1
        return False
    return bool(value)


def is_brush_mask(content: dict[str, Any]) -> bool:
    """Whether CVAT wrote an annotation, and its user did not mark it as a crowd."""
    attributes = content.get("attributes")
    if not isinstance(attributes, dict) or "occluded" not in attributes:
        return False
    return attributes.get("is_crowd") in (None, False, 0, "false")


def skipped_categories(
    items: list[dict[str, Any]], used: Collection[int], notes: Notes
) -> set[int]:
    """The ids of categories that are not classes: roots and backgrounds without annotations.

    A root is a category without a parent that is the parent of another one. Roboflow writes one
    into each file. Any other category without annotations is a class.

    Args:
        items: the categories of a file, with checked ids and names.
        used: ids of the categories of annotations.
        notes: counts the skipped categories.
    """
    parents = {each.get("supercategory") for each in items if _has_parent(each)}
    skipped = set()
    for item in items:
        id, name = whole(item["id"]), item["name"]
        root = name in parents and not _has_parent(item)
        if id not in used and (root or name.casefold() in _BACKGROUNDS):
            skipped.add(id)
            kind = "root" if root else "background"
            notes[f"the {kind} category {shown(name)} without annotations is skipped"] += 1
    return skipped


def _has_parent(item: dict[str, Any]) -> bool:
    parent = item.get("supercategory")
    return isinstance(parent, str) and parent.casefold() not in ("", "none")


def box_of(content: dict[str, Any]) -> tuple[float, float, float, float] | None:
    """The `bbox` (x, y, width, height) of an annotation; None if it is missing or invalid."""
    values = content.get("bbox")
    if not isinstance(values, list) or len(values) != 4:
        return None
    numbers = [number(value) for value in values]
    if not set(map(type, numbers)) <= _NUMBERS:
        return None
    x, y, width, height = numbers
    fits = all(abs(value) < codec.FARTHEST for value in numbers) and width > 0 and height > 0
    return (float(x), float(y), float(width), float(height)) if fits else None


def is_odd(content: dict[str, Any], height: int, width: int) -> bool:
    """Whether the mask of an annotation is an empty list next to a box, or rows of a bitmap.

    Both pass the checks of polygons, but need a conversion.
    """
    segmentation = content.get("segmentation")
    if type(segmentation) is not list:
        return False
    if not segmentation:
        return "bbox" in content
    return len(segmentation) > 1 and _of_rows(segmentation, (height, width)) is not None


def repaired(content: dict[str, Any], size: tuple[int, int] | None, notes: Notes) -> dict[str, Any]:
    """Converts the mask of an annotation to polygons or RLE; without a usable mask, its box.

    Args:
        content: the annotation.
        size: (height, width) of its image in pixels; None if unknown.
        notes: counts the conversions.

    Returns:
        The same object if its mask is regular, or if it has neither a usable mask nor a box.
    """
    segmentation, note = _mask_of(content.get("segmentation"), size)
    if segmentation is None:
        box = box_of(content)
        if box is None:  # converts rows to an RLE, so that the checks do not read them as polygons
            rows = _rows_in(content.get("segmentation"), size)
            return content if rows is None else {**content, "segmentation": rows}
        x, y, w, h = box
        segmentation, note = [[x, y, x + w, y, x + w, y + h, x, y + h]], BOXED
    if not note:
        return content
    notes[note] += 1
    return {**content, "segmentation": segmentation}


def _mask_of(segmentation: Any, size: tuple[int, int] | None) -> tuple[Any, str]:
    """A mask in COCO's form and the kind of its conversion; None if no part is usable."""
    original = segmentation
    if isinstance(segmentation, list):
        item = segmentation[0] if len(segmentation) == 1 else None
        segmentation = item if isinstance(item, dict) else _rows_in(segmentation, size)
        if segmentation is None:
            return _polygons_of(original, size)
    if not isinstance(segmentation, dict):
        return None, ""
    code = {**segmentation}
    for key in ("size", "counts"):
        if isinstance(code.get(key), list):
            code[key] = [whole(value) for value in code[key]]
    sides = code.get("size") if size is None else list(size)
    if not _is_size(sides):
        return None, ""
    try:
        codec.from_segmentation(code, *sides)
    except ValueError:
        return None, ""
    regular = original is segmentation and _same_types(code, segmentation)
    return code, "" if regular else UNUSUAL


def _is_size(value: Any) -> TypeGuard[list[int]]:
    return (
        isinstance(value, list)
        and len(value) == 2
        and set(map(type, value)) == {int}
        and min(value) > 0
        and value[0] * value[1] <= codec.MAX_PIXELS
    )


def _same_types(one: dict[str, Any], other: dict[str, Any]) -> bool:
    lists = [(one[key], other[key]) for key in ("size", "counts") if isinstance(one[key], list)]
    return all(set(map(type, a)) == set(map(type, b)) for a, b in lists)


def _polygons_of(segmentation: list[Any], size: tuple[int, int] | None) -> tuple[Any, str]:
    """The usable polygons of a list and the kind of conversion; None if there are none."""
    parts: list[Any] = segmentation
    flat = bool(parts) and not any(isinstance(each, (list, dict)) for each in parts)
    if flat or (len(parts) > 2 and all(map(_is_pair, parts))):
        parts = [parts]
    far = codec.FARTHEST if size is None else min(codec.FAR * max(size), codec.FARTHEST)
    polygons = [_polygon(each) for each in parts]
    usable = [each for each in polygons if each is not None and _is_usable(each, far)]
    if not usable:
        return None, ""
    if len(usable) < len(parts):
        return usable, PARTLY
    same = parts is segmentation and all(a is b for a, b in zip(usable, parts, strict=True))
    return usable, "" if same else UNUSUAL


def _polygon(part: Any) -> list[Any] | None:
    """Flattens a polygon of pairs, and converts numbers that are text."""
    if not isinstance(part, list):
        return None
    if part and all(map(_is_pair, part)):
        part = list(chain.from_iterable(part))
    return [number(each) for each in part] if str in set(map(type, part)) else part


def _is_pair(value: Any) -> bool:
    return type(value) is list and len(value) == 2 and not set(map(type, value)) & {list, dict}


def _is_usable(polygon: list[Any], far: float) -> bool:
    return (
        len(polygon) >= 6
        and len(polygon) % 2 == 0
        and set(map(type, polygon)) <= _NUMBERS
        and min(polygon) >= -far
        and max(polygon) <= far
        and math.isfinite(sum(polygon))
    )


def _rows_in(segmentation: Any, size: tuple[int, int] | None) -> dict[str, Any] | None:
    """`_of_rows` of a segmentation, or of its only item."""
    if not isinstance(segmentation, list) or not segmentation:
        return None
    rle = _of_rows(segmentation, size)
    if rle is None and len(segmentation) == 1 and isinstance(segmentation[0], list):
        rle = _of_rows(segmentation[0], size)
    return rle


def _of_rows(rows: list[Any], size: tuple[int, int] | None) -> dict[str, Any] | None:
    """Converts a bitmap that is written as a list of rows to an RLE.

    A bitmap of few columns can look like polygons. Rows of two values are a bitmap if they fill the
    image. Rows of 0 and 1 are a bitmap of any size, because such polygons would lie on one pixel.

    Returns:
        The RLE; None if the list is not a bitmap; an empty dict if the bitmap has more than two
        values, so that the value of the object is unknown.
    """
    width = len(rows[0]) if rows and type(rows[0]) is list else 0
    if width < 2 or len(rows) < 2:
        return None
    fills = size is not None and (len(rows), width) == tuple(size)
    few = len(rows) < _MANY
    if not fills and few and (len(rows) < 3 or rows[0][0] not in (0, 1)):
        return None
    if not all(type(row) is list and len(row) == width for row in rows):
        return None
    values = list(chain.from_iterable(zip(*rows, strict=True)))  # column by column
    if not set(map(type, values)) <= {int, float, bool}:
        return None
    kinds = set(values)
    if not kinds <= {0, 1} and ((few and not fills) or len(kinds | {0}) != 2):
        return {} if fills and not few else None
    counts: list[int] = []
    for value, run in groupby(values, key=bool):
        if value and not counts:
            counts.append(0)
        counts.append(sum(1 for _ in run))
    return {"size": [len(rows), width], "counts": counts}


def sentences_of(notes: Notes) -> list[str]:
    """Formats the notes as sentences with their counts."""
    return [f"{kind} ({count}x)" for kind, count in notes.items() if count]
