"""CVAT: one XML ("CVAT for images 1.1") with all shapes of all images.

CVAT draws the image from (0, 0) to (width, height): the center of the first pixel is (0.5, 0.5).
It rotates photographs by their EXIF. A box's `rotation` is about its center.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import numpy as np
from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import ParseError, iterparse
from numpy.typing import NDArray

from p2seg.data.rle import MAX_PIXELS
from p2seg.errors import UserError, shown
from p2seg.formats.points.base import (
    ID_KEY,
    Found,
    Mark,
    Picture,
    Place,
    Reading,
    check_bytes,
    files_at,
    id_from,
    label_of,
    size_from,
)
from p2seg.formats.points.regions import Bitmap, Outline, box, ellipse
from p2seg.formats.points.writer import Writing, check_xml
from p2seg.runtime.files import atomic_path, write_json

NO_SHAPES = ("attribute",)
"""Child elements of an image that are not shapes."""


def read(path: Path, _: Reading) -> Found:
    """Reads CVAT's XML.

    Args:
        path: the file, or a folder with one file per job.
        _: unused.

    Raises:
        UserError: no XML exists, or one is not readable.
    """
    found = Found(classes=[])
    for file in files_at(path, (".xml",), "CVAT XMLs"):
        check_bytes(file)
        try:
            _read(file, found)
        except (ParseError, DefusedXmlException, ValueError, LookupError) as error:
            reason = " ".join(str(error).split())
            raise UserError(
                f"{file} is not readable as CVAT's XML ({reason[:200]}); export it again as CVAT "
                "for images 1.1"
            ) from error
    return found


def _read(file: Path, found: Found) -> None:
    """Adds the pictures of a file, one element at a time to limit memory."""
    classes = dict.fromkeys(found.classes or ())
    with file.open("rb") as stream:
        events: Iterator[tuple[str, Any]] = iterparse(stream, events=("start", "end"))
        parents: list[str] = []
        for event, element in events:
            if event == "start":
                if not parents and element.tag != "annotations":
                    raise UserError(
                        f"{file} begins with <{element.tag}>, but CVAT's XML with <annotations>; "
                        "export it as CVAT for images 1.1"
                    )
                if element.tag == "track":
                    raise UserError(
                        f"{file} holds tracks of a video; export the task as CVAT for images 1.1, "
                        "which has single frames"
                    )
                parents.append(element.tag)
                continue
            parents.pop()
            if parents[-2:] == ["labels", "label"] and element.tag == "name":
                classes[element.text or ""] = None
            if element.tag == "image" and parents == ["annotations"]:
                with found.entry():
                    found.pictures.append(_picture(element, file, found))
                element.clear()
    found.classes = [name for name in classes if name]


def _picture(element: Any, file: Path, found: Found) -> Picture:
    name = element.get("name")
    if not name:
        raise UserError(f"{file}: image {shown(element.get('id'))} has no name; export it again")
    where = f"{file}: image {shown(name)}"
    marks = []
    for number, shape in enumerate(
        (each for each in element if each.tag not in NO_SHAPES), start=1
    ):
        with found.entry():
            marks += _marks(shape, where, f"shape {number}", found)
    size = size_from(element.get("height"), element.get("width"), where)
    return Picture((name,), marks, where, size)


def _marks(shape: Any, image: str, where: str, found: Found) -> list[Mark]:
    """The objects of a shape. Only `points` can be several."""
    if shape.tag not in PLACES:  # lines, cuboids, skeletons, tags
        found.left_out[f"shapes of the kind {shown(shape.tag)}"] += 1
        return []
    whole = f"{image}: {where}"
    label = label_of(shape.get("label"), whole)
    group = id_from(shape.get("group_id")) or None  # 0 is none
    texts = [each.text for each in shape.iter("attribute") if each.get("name") == ID_KEY]
    id = id_from((texts[0] or "").strip()) if texts else None
    places = PLACES[shape.tag](shape, whole)
    return [Mark(label, at, where, id if len(places) == 1 else None, group) for at in places]


def _numbers(shape: Any, whole: str, *keys: str) -> list[float]:
    return [_number(shape.get(key), f"{whole} has {key}") for key in keys]


def _number(text: str | None, whole: str) -> float:
    with suppress(TypeError, ValueError):
        value = float(text)  # type: ignore[arg-type]
        if abs(value) < 1e9:  # False for NaN
            return value
    raise UserError(f"{whole} {shown(text)}; it must be a number")


def _corners(shape: Any, whole: str) -> list[tuple[float, float]]:
    text = shape.get("points") or ""
    pairs = [pair.split(",") for pair in text.split(";")]
    if any(len(pair) != 2 for pair in pairs):
        raise UserError(f"{whole} has points={shown(text)}; they must be x,y;x,y;..")
    what = f"{whole} has a coordinate"
    return [(_number(x, what), _number(y, what)) for x, y in pairs]


def _points(shape: Any, whole: str) -> list[Place]:
    return [(y, x) for x, y in _corners(shape, whole)]


def _polygon(shape: Any, whole: str) -> list[Place]:
    return [Outline(_corners(shape, whole))]


def _turn(shape: Any, whole: str) -> float:
    return _number(shape.get("rotation") or "0", f"{whole} has rotation")


def _box(shape: Any, whole: str) -> list[Place]:
    x0, y0, x1, y1 = _numbers(shape, whole, "xtl", "ytl", "xbr", "ybr")
    return [box(x0, y0, x1, y1, _turn(shape, whole))]


def _ellipse(shape: Any, whole: str) -> list[Place]:
    x, y, rx, ry = _numbers(shape, whole, "cx", "cy", "rx", "ry")
    return [ellipse(x, y, rx, ry, _turn(shape, whole))]


def _mask(shape: Any, whole: str) -> list[Place]:
    """A bitmap from row-major run lengths in the mask's bounding box."""
    left, top, width, height = (
        int(value) for value in _numbers(shape, whole, "left", "top", "width", "height")
    )
    try:
        runs = np.array([int(run) for run in (shape.get("rle") or "").split(",")], np.int64)
    except (ValueError, OverflowError):
        runs = np.array([-1])
    valid = 0 < width * height <= MAX_PIXELS and width > 0
    if not valid or (runs < 0).any() or (runs > MAX_PIXELS).any() or runs.sum() != width * height:
        raise UserError(f"{whole} is a mask whose rle does not fill its box; export it again")
    decode = partial(_decoded, runs.astype(np.int32), (height, width))
    return [Bitmap(decode, (height, width), top, left)]


def _decoded(runs: NDArray[np.int32], shape: tuple[int, int]) -> NDArray[np.bool_]:
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(shape)


PLACES: dict[str, Callable[[Any, str], list[Place]]] = {
    "points": _points,
    "box": _box,
    "polygon": _polygon,
    "ellipse": _ellipse,
    "mask": _mask,
}


def write(writing: Writing) -> str:
    """Writes the XML, and next to it the labels of the task (`NAME.labels.json`).

    CVAT finds an image by its number among the frames of the task, which it sorts by name. The
    XML therefore lists all images, sorted. The text attribute `p2seg_id` has the annotation id.
    """
    names = writing.names
    check_xml([*names, *(record.file_name for record in writing.records)])
    images = sorted(writing.images(), key=lambda each: each[0].file_name)
    with atomic_path(writing.out) as temporary, temporary.open("w", encoding="utf-8") as stream:
        stream.write('<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n')
        stream.write("  <version>1.1</version>\n  <meta>\n    <task>\n")
        stream.write(f"      <size>{len(images)}</size>\n      <mode>annotation</mode>\n")
        stream.write("      <start_frame>0</start_frame>\n")
        stream.write(f"      <stop_frame>{max(len(images) - 1, 0)}</stop_frame>\n      <labels>\n")
        for name in names:
            stream.write(
                f"        <label>\n          <name>{escape(name)}</name>\n"
                "          <attributes>\n            <attribute>\n"
                f"              <name>{ID_KEY}</name>\n              <mutable>False</mutable>\n"
                "              <input_type>text</input_type>\n"
                "              <default_value></default_value>\n"
                "              <values></values>\n            </attribute>\n"
                "          </attributes>\n        </label>\n"
            )
        stream.write("      </labels>\n    </task>\n  </meta>\n")
        for frame, (record, clicks) in enumerate(images):
            stream.write(
                f'  <image id="{frame}" name={quoteattr(record.file_name)} '
                f'width="{record.width}" height="{record.height}">\n'
            )
            for click in clicks:
                x, y = click.on_edges
                stream.write(
                    f'    <points label={quoteattr(click.label)} source="manual" occluded="0" '
                    f'points="{x:.2f},{y:.2f}" z_order="0">\n'
                    f'      <attribute name="{ID_KEY}">{click.id}</attribute>\n    </points>\n'
                )
            stream.write("  </image>\n")
        stream.write("</annotations>\n")
    labels = writing.out.with_suffix(".labels.json")
    attribute = {
        "name": ID_KEY,
        "input_type": "text",
        "mutable": False,
        "values": [""],
        "default_value": "",
    }
    content = [{"name": name, "type": "points", "attributes": [attribute]} for name in names]
    write_json(labels, content, indent=1)
    return (
        f"make a CVAT task of the images with the labels of {labels} (Raw), then upload "
        f"{writing.out} as CVAT 1.1"
    )
