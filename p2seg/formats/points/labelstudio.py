"""Label Studio: a JSON of tasks, with regions in percent of the image as the browser shows it.

0 % is the left edge of the image and 100 % the right one, so the first pixel covers 0 to 1. x and y
of a rectangle are its upper left corner, which is also the center of its `rotation`.
"""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from p2seg.data.schema import is_number
from p2seg.errors import UserError, shown
from p2seg.formats.masks.labelstudio import brush_mask, brush_size, config
from p2seg.formats.points.base import (
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
    number_at,
    object_of,
    pair_of,
    size_from,
)
from p2seg.formats.points.labelstudio_tasks import (
    annotations_of,
    image_names,
    is_labelstudio,
    one_per_image,
    regions_of_min,
    results_of,
)
from p2seg.formats.points.regions import Bitmap, Outline, box, ellipse
from p2seg.formats.points.writer import Writing, check_xml
from p2seg.runtime.files import write_text
from p2seg.runtime.json_streams import write_json_list

KINDS = ("keypoint", "rectangle", "ellipse", "polygon", "brush")
OURS = "p2seg-"
"""Prefix of p2seg region ids. The annotation id follows."""


def read(path: Path, _: Reading) -> Found:
    """Reads Label Studio's exports, JSON or JSON-MIN.

    Args:
        path: the file, or a folder of such files.
        _: unused.

    Raises:
        UserError: no JSON exists, or one is not readable.
    """
    found = Found()
    for file in files_at(path, (".json",), "Label Studio JSONs"):
        content = json_of(file, "Label Studio JSON")
        tasks = content if isinstance(content, list) else [content]  # a file can be a single task
        if not is_labelstudio(tasks):
            raise UserError(
                f"{file} is not a list of Label Studio tasks; export the project as JSON"
            )
        objects = [task for task in tasks if isinstance(task, dict)]
        predicted = any(each.get("predictions") for each in objects)
        if predicted and not any(map(annotations_of, objects)):
            raise UserError(
                f"{file} has predictions only and no annotations; submit them in Label Studio and "
                "export the project as JSON"
            )
        for place, task in enumerate(one_per_image(tasks, found)):
            with found.entry():
                task = object_of(task, f"{file}: task {place + 1}")
                id = task.get("id", place + 1)
                found.pictures.append(_picture(task, f"{file}: task {shown(id)}", found))
    return found


def _picture(task: dict[str, Any], where: str, found: Found) -> Picture:
    data = object_of(task.get("data", task), f"{where}: its data")
    results = results_of(task, where, found) if "data" in task else regions_of_min(task)
    by_id = _labels_apart(results)
    groups = _groups(results)
    marks: list[Mark] = []
    sizes = set[tuple[int, int]]()
    for number, result in enumerate(results, start=1):
        with found.entry():
            name = (
                f"region {shown(result.get('id', number)) if isinstance(result, dict) else number}"
            )
            result = object_of(result, f"{where}: {name}")
            mark = _mark(result, by_id, groups, where, name, found)
            if mark is not None:
                marks.append(mark[0])
                sizes.update([mark[1]] if mark[1] is not None else [])
    if len(sizes) > 1:
        raise UserError(
            f"{where} has regions on images of {len(sizes)} sizes; make one task per image"
        )
    names = image_names(data, "data" in task, where)
    return Picture(names, marks, where, sizes.pop() if sizes else None)


def _labels_apart(results: list[Any]) -> dict[str, Any]:
    """The labels by region id that are separate results, as of `<Labels>` next to `<KeyPoint>`."""
    return {
        each["id"]: each["value"]["labels"]
        for each in results
        if isinstance(each, dict)
        and each.get("type") == "labels"
        and isinstance(each.get("id"), str)
        and isinstance(each.get("value"), dict)
        and "labels" in each["value"]
    }


def _groups(results: list[Any]) -> dict[str, int]:
    """A group number for each region that is the parent of a click, as in exported masks."""
    parents = (
        each.get("parentID")
        for each in results
        if isinstance(each, dict) and str(each.get("type")).startswith("keypoint")
    )
    return {id: number for number, id in enumerate(dict.fromkeys(parents)) if isinstance(id, str)}


def _mark(
    result: dict[str, Any],
    by_id: dict[str, Any],
    groups: dict[str, int],
    task: str,
    where: str,
    found: Found,
) -> tuple[Mark, tuple[int, int] | None] | None:
    """The object of a region and the size of its image, or None if the result is no object."""
    whole = f"{task}: {where}"
    type_ = result.get("type")
    if type_ in ("labels", "relation", "choices", "textarea", "rating", "taxonomy", "number"):
        return None  # attributes of a region or of the image
    kind = type_.removesuffix("labels") if isinstance(type_, str) else ""
    value = result.get("value")
    if kind not in KINDS or (kind == "brush" and not _readable(result)):
        found.left_out[f"regions of the type {shown(type_)}"] += 1
        return None
    value = object_of(value, f"{whole}: its value")
    if isinstance(type_, str) and type_.endswith("labels"):
        labels = value.get(type_)
    else:
        labels = by_id.get(str(result.get("id")))
    labels = [""] if labels in (None, []) else labels
    if not isinstance(labels, list) or len(labels) != 1:
        raise UserError(f"{whole} has the labels {shown(labels)}; give it one")
    size = size_from(result.get("original_height"), result.get("original_width"), f"{whole}: it")
    rotation = result.get("image_rotation", 0)
    if rotation not in (0, None) or isinstance(rotation, bool):
        raise UserError(
            f"{whole} was drawn on an image rotated by {shown(rotation)} degrees in Label Studio; "
            "rotate the image back there and export it again"
        )
    id = result.get("id")
    own = id_from(id.removeprefix(OURS)) if isinstance(id, str) and id.startswith(OURS) else None
    place = partial(_place, kind, value, whole)
    place(size or (100, 100))  # raises if the point is invalid
    group = groups.get(str(result.get("parentID") if kind == "keypoint" else id))
    return Mark(label_of(labels[0], whole), place, where, own, group), size


def _readable(result: dict[str, Any]) -> bool:
    """Whether a brush has a code of the size of its image."""
    value = result.get("value")
    code = value.get("rle") if isinstance(value, dict) else None
    if not isinstance(code, list) or not all(
        type(each) is int and 0 <= each < 256 for each in code
    ):
        return False
    width, height = result.get("original_width"), result.get("original_height")
    if type(width) is int and type(height) is int and brush_size(code) != width * height:
        return False
    return len(code) > 6


def _place(kind: str, value: dict[str, Any], whole: str, size: tuple[int, int]) -> Place:
    """The click or region in pixels of an image of (height, width)."""
    if kind == "brush":
        return Bitmap(partial(brush_mask, value["rle"], size), size, 0, 0)
    height, width = size[0] / 100, size[1] / 100  # pixels per percent
    if kind == "polygon":
        corners = [pair_of(each, whole) for each in list_at(value, "points", whole)]
        return Outline([(x * width, y * height) for x, y in corners])
    x, y = number_at(value, "x", whole) * width, number_at(value, "y", whole) * height
    if kind == "keypoint":
        return y, x
    turn = value.get("rotation") or 0
    if not is_number(turn):
        raise UserError(f"{whole} has the rotation {shown(turn)}; it must be degrees")
    if kind == "ellipse":
        rx, ry = number_at(value, "radiusX", whole), number_at(value, "radiusY", whole)
        return ellipse(x, y, rx * width, ry * height, turn)
    w, h = number_at(value, "width", whole) * width, number_at(value, "height", whole) * height
    # The corner is fixed: the center is half a rotated diagonal away.
    cos, sin = math.cos(math.radians(turn)), math.sin(math.radians(turn))
    cx, cy = x + (w * cos - h * sin) / 2, y + (w * sin + h * cos) / 2
    return box(cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2, turn, kind="rectangle")


def write(writing: Writing) -> str:
    """Writes the tasks, and next to them the matching labeling config (`NAME.config.xml`).

    The config is the same as that of exported masks, so one project accepts both. Label Studio
    preserves region ids, so `p2seg-7` is the region of annotation id 7.
    """
    tasks = (
        {
            "id": number,
            "data": {"image": writing.url + quote(record.file_name)},
            "annotations": [
                {
                    "id": number,
                    "result": [
                        {
                            "id": f"{OURS}{click.id}",
                            "type": "keypointlabels",
                            "from_name": "keypoint",
                            "to_name": "image",
                            "original_width": record.width,
                            "original_height": record.height,
                            "image_rotation": 0,
                            "value": {
                                "x": click.on_edges[0] / record.width * 100,
                                "y": click.on_edges[1] / record.height * 100,
                                "width": 0.5,
                                "keypointlabels": [click.label],
                            },
                        }
                        for click in clicks
                    ],
                }
            ],
        }
        for number, (record, clicks) in enumerate(writing.images(), start=1)
    )
    check_xml(writing.names)
    path = writing.out.with_suffix(".config.xml")
    write_text(path, config(writing.names))
    write_json_list(writing.out, tasks)
    return f"make a Label Studio project with the labeling config {path} and import {writing.out}"
