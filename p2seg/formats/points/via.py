"""VIA 1 and 2: a project, or its annotations alone, as JSON or CSV.

Points are mouse positions rounded to integers. They are indices of the pixels below the pointer,
so the first pixel is 0, as in p2seg.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from p2seg.data.schema import kind_of
from p2seg.errors import UserError, shown
from p2seg.formats.points.base import (
    Found,
    Mark,
    Picture,
    Reading,
    files_at,
    json_of,
    label_of,
    list_at,
    number_at,
    object_of,
    text_of,
)
from p2seg.formats.points.regions import Outline, Region, box, ellipse

USUAL = ("label", "class", "category", "type", "name", "species")
"""Usual names of the class attribute."""


def read(path: Path, reading: Reading) -> Found:
    """Reads VIA files.

    Args:
        path: the file, or a folder of such files.
        reading: the region attribute that is the class.

    Raises:
        UserError: no file exists, one is not readable, or the class attribute is ambiguous.
    """
    files = {}
    for file in files_at(path, (".json", ".csv"), "VIA files"):
        content = _of_table(file) if file.suffix.lower() == ".csv" else json_of(file, "VIA JSON")
        if not is_via(content):
            raise UserError(f"{file} has no images with regions, so it is not a file of VIA 1 or 2")
        files[file] = content.get("_via_img_metadata", content)
    found = Found()
    attribute = reading.attribute or _attribute(files)
    for file, images in files.items():
        for key, image in images.items():
            with found.entry():
                found.pictures.append(_picture(image, f"{file}: {shown(key)}", attribute, found))
    return found


def is_via(content: Any) -> bool:
    """Whether the content of a JSON is VIA's, judged by its first image."""
    if not isinstance(content, dict):
        return False
    images = content.get("_via_img_metadata", content)
    if not isinstance(images, dict):
        return False
    first = next(iter(images.values()), None)
    return isinstance(first, dict) and "filename" in first and "regions" in first


def is_table(header: Sequence[str]) -> bool:
    """Whether the columns of a CSV are VIA's."""
    return {"region_shape_attributes", "region_attributes"} <= set(header)


def _of_table(file: Path) -> dict[str, Any]:
    """The images of a VIA CSV in the structure of its JSON."""
    images: dict[str, Any] = {}
    rows = csv.reader(io.StringIO(text_of(file, "VIA CSV")))
    header = [name.strip().lstrip("#") for name in next(rows, [])]
    if "filename" not in header or not is_table(header):
        raise UserError(f"{file} has no columns of regions, so it is not a CSV of VIA 1 or 2")
    for row in rows:
        fields = dict(zip(header, row, strict=False))
        if not fields.get("filename"):
            continue
        regions = images.setdefault(fields["filename"], {"filename": fields["filename"]})
        where = f"{file}: line {rows.line_num}"
        try:
            shape, attributes = (
                json.loads(fields.get(f"region_{key}") or "{}")
                for key in ("shape_attributes", "attributes")
            )
        except (ValueError, RecursionError) as error:
            raise UserError(f"{where} has an unreadable region; export it again") from error
        region = {"shape_attributes": shape, "region_attributes": attributes}
        regions.setdefault("regions", []).extend([region] if shape else [])
    return images


def _regions(image: Any) -> list[Any]:
    """The regions of an image; VIA 1 numbers them in an object."""
    regions = image.get("regions") if isinstance(image, dict) else None
    if isinstance(regions, dict):
        return list(regions.values())
    return regions if isinstance(regions, list) else []


def _attribute(files: dict[Path, dict[str, Any]]) -> str | None:
    """The class attribute: the only one, or the only one with a usual name."""
    keys = Counter(
        str(key)
        for images in files.values()
        for image in images.values()
        for region in _regions(image)
        if isinstance(region, dict) and isinstance(region.get("region_attributes"), dict)
        for key, value in region["region_attributes"].items()
        if value not in ("", None, {})
    )
    if len(keys) == 1:
        return next(iter(keys))
    usual = [key for name in USUAL for key in keys if key.lower() == name]
    if len(usual) != 1 and keys:
        raise UserError(
            f"regions have the attributes {', '.join(map(shown, sorted(keys)[:10]))}, so the class "
            "attribute is ambiguous; choose it with attribute=NAME"
        )
    return usual[0] if usual else None


def _picture(image: Any, where: str, attribute: str | None, found: Found) -> Picture:
    image = object_of(image, where)
    regions = image.get("regions")
    if regions is not None and not isinstance(regions, (dict, list)):
        raise UserError(f"{where}: 'regions' is {kind_of(regions)}; it must be a list")
    name = image.get("filename")
    if not isinstance(name, str) or not name:
        raise UserError(f"{where} has the filename {shown(name)}; it must be the picture's path")
    marks = []
    for number, region in enumerate(_regions(image), start=1):
        with found.entry():
            whole = f"{where}: region {number}"
            region = object_of(region, whole)
            shape = object_of(region.get("shape_attributes"), f"{whole}: its shape_attributes")
            at = _place(shape, whole)
            if at is None:
                found.left_out[f"regions of the shape {shown(shape.get('name'))}"] += 1
                continue
            label = _label(region, attribute, whole)
            marks.append(Mark(label, at, f"region {number}"))
    return Picture((name,), marks, where)


def _label(region: dict[str, Any], attribute: str | None, whole: str) -> str:
    attributes = object_of(region.get("region_attributes") or {}, f"{whole}: its attributes")
    value = attributes.get(attribute) if attribute else None
    if isinstance(value, dict):  # a checkbox attribute
        chosen = [key for key, on in value.items() if on]
        if not chosen:
            return ""
        if len(chosen) > 1:
            raise UserError(f"{whole} has {len(chosen)} classes ticked; tick one")
        value = chosen[0]
    return label_of(value.strip() if isinstance(value, str) else value, whole)


def _place(shape: dict[str, Any], whole: str) -> tuple[float, float] | Region | None:
    """The click or region of a shape, or None if the shape has no area."""
    kind = shape.get("name")
    if kind == "point":
        x, y = number_at(shape, "cx", whole), number_at(shape, "cy", whole)
        return y, x
    if kind == "rect":
        x, y = number_at(shape, "x", whole), number_at(shape, "y", whole)
        width, height = number_at(shape, "width", whole), number_at(shape, "height", whole)
        return box(x, y, x + width, y + height, kind="rectangle")
    if kind in ("circle", "ellipse"):
        keys = ("cx", "cy", "r", "r") if kind == "circle" else ("cx", "cy", "rx", "ry")
        x, y, rx, ry = (number_at(shape, key, whole) for key in keys)
        turn = math.degrees(number_at(shape, "theta", whole)) if shape.get("theta") else 0.0
        return ellipse(x, y, rx, ry, turn, kind=str(kind))
    if kind == "polygon":
        columns, rows = (list_at(shape, f"all_points_{axis}", whole) for axis in "xy")
        if len(columns) != len(rows):
            raise UserError(f"{whole} has {len(columns)} x and {len(rows)} y; draw it again")
        pairs = [{"x": x, "y": y} for x, y in zip(columns, rows, strict=True)]
        return Outline([(number_at(p, "x", whole), number_at(p, "y", whole)) for p in pairs])
    return None
