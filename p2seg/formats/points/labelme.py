"""LabelMe: one JSON per image, with shapes in pixels of the image as LabelMe shows it.

LabelMe draws the image from (0, 0) to (width, height): the center of the first pixel is
(0.5, 0.5). It rotates images by their EXIF.
"""

from __future__ import annotations

import base64
import binascii
import math
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path, PureWindowsPath
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from p2seg.data.rle import MAX_PIXELS
from p2seg.errors import UserError, shown
from p2seg.formats.masks.base import places
from p2seg.formats.masks.labelme import VERSION
from p2seg.formats.points.base import (
    ID_KEY,
    Found,
    Mark,
    Picture,
    Reading,
    files_at,
    id_from,
    json_of,
    label_of,
    list_at,
    object_of,
    pair_of,
    size_from,
    text_of,
)
from p2seg.formats.points.regions import Bitmap, Outline, Region, ellipse, rectangle
from p2seg.formats.points.writer import Writing
from p2seg.runtime.files import write_json, write_text

CLASSES = "labels.txt"
NO_CLASSES = ("__ignore__", "_background_")
"""Labels of LabelMe's examples that are not classes."""
UNREADABLE = "is a mask without a readable PNG; draw it again"
Corners = list[tuple[float, float]]


def read(path: Path, _: Reading) -> Found:
    """Reads LabelMe files.

    Args:
        path: a JSON, or a folder of JSONs. A `labels.txt` in the folder, the file of LabelMe's
            --labels, sets the order of the classes.
        _: unused.

    Raises:
        UserError: no JSON exists.
    """
    found = Found(classes=_listed(path / CLASSES))
    for file in files_at(path, (".json",), "LabelMe JSONs"):
        with found.entry():
            found.pictures.append(_picture(file, found))
    return found


def _listed(file: Path) -> list[str] | None:
    """The classes of a file with one name per line, without LabelMe's names for no class."""
    if not file.is_file():
        return None
    lines = map(str.strip, text_of(file, "list of classes").splitlines())
    return [line for line in lines if line and line not in NO_CLASSES]


def is_labelme(content: Any) -> bool:
    """Whether the content of a JSON is LabelMe's."""
    return isinstance(content, dict) and "shapes" in content and "imagePath" in content


def _picture(file: Path, found: Found) -> Picture:
    content = json_of(file, "LabelMe JSON")
    if not is_labelme(content):
        raise UserError(
            f"{file} has no shapes and no imagePath, so it is not a LabelMe file; "
            "remove it from the folder"
        )
    name = content["imagePath"]
    if not isinstance(name, str) or not name:
        raise UserError(f"{file} has imagePath {shown(name)}; it must be the picture's path")
    size = size_from(content.get("imageHeight"), content.get("imageWidth"), f"{file}: the picture")
    marks = []
    for number, shape in enumerate(list_at(content, "shapes", str(file)), start=1):
        with found.entry():
            marks += _marks(shape, f"{file}: shape {number}", f"shape {number}", found)
    path = os.path.normpath(file.parent.absolute() / PureWindowsPath(name).as_posix())
    return Picture((path, name), marks, str(file), size)


def _marks(shape: Any, whole: str, where: str, found: Found) -> list[Mark]:
    """The objects of a shape. Only the kind `points` can be several."""
    shape = object_of(shape, whole)
    label = label_of(shape.get("label"), whole)
    if label in NO_CLASSES:
        found.left_out[f"shapes with the label {shown(label)}, which is no class"] += 1
        return []
    kind = shape.get("shape_type") or "polygon"
    corners = [pair_of(each, whole) for each in list_at(shape, "points", whole)]
    group = id_from(shape.get("group_id"))
    id = id_from(shape.get(ID_KEY))
    if kind in ("point", "points"):
        if not corners:
            raise UserError(f"{whole} has no point; click it again or delete it")
        at = [(y, x) for x, y in (corners[:1] if kind == "point" else corners)]
        return [Mark(label, yx, where, id if len(at) == 1 else None, group) for yx in at]
    if kind == "mask":
        return [Mark(label, _bitmap(shape, corners, whole), where, id, group)]
    if not isinstance(kind, str) or kind not in REGIONS:
        found.left_out[f"shapes of the kind {shown(kind)}"] += 1
        return []
    needed, region = REGIONS[kind]
    if len(corners) < needed:
        raise UserError(f"{whole}: a {kind} of {len(corners)} points; it needs {needed}")
    return [Mark(label, region(corners), where, id, group)]


def _bitmap(shape: dict[str, Any], corners: Corners, where: str) -> Bitmap:
    """A shape of the kind `mask`: a PNG, and the position of its first pixel."""
    try:
        png = base64.b64decode(shape.get("mask") or "", validate=True)
        width, height = (int.from_bytes(png[at : at + 4], "big") for at in (16, 20))
        if not png.startswith(b"\x89PNG") or width * height > MAX_PIXELS:
            raise ValueError
    except (binascii.Error, TypeError, ValueError) as error:
        raise UserError(f"{where} {UNREADABLE}") from error
    if not corners:
        raise UserError(f"{where} is a mask without a position; draw it again")
    left, top = corners[0]
    if max(abs(left), abs(top)) > MAX_PIXELS:
        raise UserError(f"{where} is a mask far outside its image; draw it again")
    sides = height, width
    return Bitmap(partial(_decoded, png), sides, math.floor(top), math.floor(left))


def _decoded(png: bytes) -> NDArray[np.bool_]:
    try:
        mask = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_GRAYSCALE)
    except cv2.error as error:
        raise ValueError(UNREADABLE) from error
    if mask is None:
        raise ValueError(UNREADABLE)
    return np.asarray(mask > 0)


def _circle(corners: Corners) -> Region:
    (x, y), rim = corners[:2]
    radius = math.dist((x, y), rim)
    return ellipse(x, y, radius, radius, kind="circle")


REGIONS: dict[str, tuple[int, Callable[[Corners], Region]]] = {
    "polygon": (3, Outline),
    "rectangle": (2, rectangle),
    "oriented_rectangle": (4, rectangle),
    "rotation": (4, rectangle),  # X-AnyLabeling's rotated box
    "quadrilateral": (4, Outline),
    "circle": (2, _circle),
}
"""For each kind with an area, the number of points that it needs, and its region."""


def write(writing: Writing) -> str:
    """Writes `NAME.json` for every image, which links the image by path, and `labels.txt`.

    LabelMe preserves unknown fields of shapes, so `p2seg_id` has the annotation id.
    """
    write_text(writing.out / CLASSES, "\n".join([*writing.names, ""]))
    stems = places(each.file_name for each in writing.records)
    for record, clicks in writing.images():
        file = writing.out / f"{stems[record.file_name]}.json"
        picture = (writing.folder / record.file_name).absolute()
        shapes: list[dict[str, Any]] = [
            {
                "label": click.label,
                "points": [list(click.on_edges)],
                "group_id": None,
                "description": "",
                "shape_type": "point",
                "flags": {},
                "mask": None,
                ID_KEY: click.id,
            }
            for click in clicks
        ]
        content: dict[str, Any] = {
            "version": VERSION,
            "flags": {},
            "shapes": shapes,
            # LabelMe resolves the path from the JSON's real folder, even behind symbolic links.
            "imagePath": Path(os.path.relpath(picture, file.parent.resolve())).as_posix(),
            "imageData": None,
            "imageHeight": record.height,
            "imageWidth": record.width,
        }
        write_json(file, content, indent=2)
    return f"start LabelMe with --output {writing.out} --labels {writing.out / CLASSES}"
