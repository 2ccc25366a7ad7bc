"""Label Studio: a JSON of tasks, regions in percent of the image as the browser shows it.

0 % is the image's left edge and 100 % its right one, so that in pixels the first one reaches from 0
to 1. A rectangle's x and y are its upper left corner, about which `rotation` turns it.
"""

from __future__ import annotations

import math
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.parse import quote

from p2seg.data.images import SUFFIXES
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
from p2seg.formats.points.regions import Bitmap, Outline, box, ellipse
from p2seg.formats.points.writer import Writing, check_xml
from p2seg.runtime.files import write_text
from p2seg.runtime.json_streams import write_json_list

KINDS = ("keypoint", "rectangle", "ellipse", "polygon", "brush")
OURS = "p2seg-"
"""What our ids of regions begin with; the number behind is the annotation's."""
USUAL = ("image", "img", "picture", "photo")
"""Names of a task's image, if it has several."""


def read(path: Path, _: Reading) -> Found:
    """Reads Label Studio's exports, JSON or JSON-MIN.

    Args:
        path: the file, or a folder of such files.
        _: the file says all itself.

    Raises:
        UserError: there is none, or one cannot be read.
    """
    found = Found()
    for file in files_at(path, (".json",), "Label Studio JSONs"):
        content = json_of(file, "Label Studio JSON")
        tasks = content if isinstance(content, list) else [content]  # one task may stand alone
        if not is_labelstudio(tasks):
            raise UserError(
                f"{file} is no list of Label Studio's tasks; export the project as JSON"
            )
        told = [task for task in tasks if isinstance(task, dict)]
        if not any(map(_made, told)) and any(task.get("predictions") for task in told):
            raise UserError(
                f"{file} has predictions only and no annotations; submit them in Label Studio and "
                "export the project as JSON"
            )
        for place, task in enumerate(_one_per_image(tasks, found)):
            with found.entry():
                task = object_of(task, f"{file}: task {place + 1}")
                id = task.get("id", place + 1)
                found.pictures.append(_picture(task, f"{file}: task {shown(id)}", found))
    return found


def is_labelstudio(content: Any) -> bool:
    """Whether a JSON is one of Label Studio: tasks, as their first one shows."""
    if not isinstance(content, list) or not content or not isinstance(content[0], dict):
        return False
    if isinstance(content[0].get("data"), dict):
        return True
    return "annotator" in content[0] or "annotation_id" in content[0] or "lead_time" in content[0]


def _one_per_image(tasks: list[Any], found: Found) -> list[Any]:
    """The tasks; JSON-MIN has one per annotation, of which the last one with regions counts."""
    kept: dict[Any, Any] = {}
    for place, task in enumerate(tasks):
        id = task.get("id") if isinstance(task, dict) and "data" not in task else None
        key = id if isinstance(id, (int, str)) else (place,)
        before = kept.get(key)
        if before is not None:
            found.left_out["other annotations of a task"] += 1
        if before is None or _regions_of_min(task) or not _regions_of_min(before):
            kept[key] = task
    return list(kept.values())


def _made(task: dict[str, Any]) -> Any:
    """What people made of a task."""
    return task.get("annotations") or task.get("completions")


def _picture(task: dict[str, Any], where: str, found: Found) -> Picture:
    data = object_of(task.get("data", task), f"{where}: its data")
    results = _results(task, where, found) if "data" in task else _regions_of_min(task)
    by_id = _labels_apart(results)
    numbers = _clicked(results)
    marks: list[Mark] = []
    sizes = set[tuple[int, int]]()
    for number, result in enumerate(results, start=1):
        with found.entry():
            name = (
                f"region {shown(result.get('id', number)) if isinstance(result, dict) else number}"
            )
            result = object_of(result, f"{where}: {name}")
            mark = _mark(result, by_id, numbers, where, name, found)
            if mark is not None:
                marks.append(mark[0])
                sizes.update([mark[1]] if mark[1] is not None else [])
    if len(sizes) > 1:
        raise UserError(
            f"{where} has regions on images of {len(sizes)} sizes; one task is one image here"
        )
    names = _image_names(data, "data" in task, where)
    return Picture(names, marks, where, sizes.pop() if sizes else None)


def _image_names(data: dict[str, Any], apart: bool, where: str) -> tuple[str, ...]:
    """The address of the image, and its name as an upload."""
    texts = {key: text for key, text in data.items() if isinstance(text, str)}
    named = [
        key
        for key, text in texts.items()
        if key != "file_upload"
        and any(part.lower().endswith(tuple(SUFFIXES)) for part in text.split("?"))
    ]
    usual = [key for key in texts if key.lower() in USUAL]
    if len(named) > 1 and len(set(named) & set(usual)) == 1:
        named = [key for key in named if key in usual]
    named = named or usual
    if len(named) != 1:
        lists = [key for key, value in data.items() if isinstance(value, list)]
        what = f"several images ({', '.join(named)})" if named else "no image"
        if lists and not named and apart:
            what = f"lists ({', '.join(lists)}), maybe of several pages, and not one image"
        raise UserError(f"{where} has {what} in its data; a task here is of one image")
    return (texts[named[0]],)


def _results(task: dict[str, Any], where: str, found: Found) -> list[Any]:
    """The regions of a task: of the annotation that is marked as true, else of the last with any.

    An empty annotation behind one with regions is that of a person who only had a look.
    """
    made = [
        object_of(each, f"{where}: an annotation")
        for each in list_at(task, "annotations", where) or list_at(task, "completions", where)
    ]
    kept = [each for each in made if not each.get("was_cancelled")]
    if len(made) > len(kept):
        found.left_out["skipped annotations"] += len(made) - len(kept)
    if len(kept) > 1:
        found.left_out["other annotations of a task"] += len(kept) - 1
    if not made and task.get("predictions"):
        found.left_out["predictions of tasks that nobody annotated"] += 1
    if not made and task.get("drafts"):
        found.left_out["drafts of tasks that nobody submitted"] += 1
    if not kept:
        return []
    true = [each for each in kept if each.get("ground_truth")]
    filled = [each for each in kept if list_at(each, "result", where)]
    return list_at((true or filled or kept)[-1], "result", where)


def _regions_of_min(task: dict[str, Any]) -> list[Any]:
    """The regions of JSON-MIN, where each tag of the labeling config has a list."""
    lists = [each for each in task.values() if isinstance(each, list)]
    regions = []
    for value in chain.from_iterable(lists):
        if isinstance(value, dict) and ("original_width" in value or "x" in value):
            kind = next((k for k in value if k.endswith("labels")), "")
            regions.append({"type": kind or "unknown", "value": value} | value)
    return regions


def _labels_apart(results: list[Any]) -> dict[str, Any]:
    """By region the labels that are results of their own, as of `<Labels>` beside `<KeyPoint>`."""
    return {
        each["id"]: each["value"]["labels"]
        for each in results
        if isinstance(each, dict)
        and each.get("type") == "labels"
        and isinstance(each.get("id"), str)
        and isinstance(each.get("value"), dict)
        and "labels" in each["value"]
    }


def _clicked(results: list[Any]) -> dict[str, int]:
    """By id the regions that have their click below them, as in our masks, numbered."""
    parents = (
        each.get("parentID")
        for each in results
        if isinstance(each, dict) and str(each.get("type")).startswith("keypoint")
    )
    return {id: number for number, id in enumerate(dict.fromkeys(parents)) if isinstance(id, str)}


def _mark(
    result: dict[str, Any],
    by_id: dict[str, Any],
    numbers: dict[str, int],
    task: str,
    where: str,
    found: Found,
) -> tuple[Mark, tuple[int, int] | None] | None:
    """The object of a region, and the size of its image if given; None of what is no object."""
    whole = f"{task}: {where}"
    type_ = result.get("type")
    if type_ in ("labels", "relation", "choices", "textarea", "rating", "taxonomy", "number"):
        return None  # said of a region or of the image
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
    turned = result.get("image_rotation", 0)
    if turned not in (0, None) or isinstance(turned, bool):
        raise UserError(
            f"{whole} was drawn on an image turned by {shown(turned)} degrees in Label Studio; "
            "turn the image back there and export it anew"
        )
    id = result.get("id")
    ours = id_from(id.removeprefix(OURS)) if isinstance(id, str) and id.startswith(OURS) else None
    place = partial(_place, kind, value, whole)
    place(size or (100, 100))  # raises if the point is wrong
    group = numbers.get(str(result.get("parentID") if kind == "keypoint" else id))
    return Mark(label_of(labels[0], whole), place, where, ours, group), size


def _readable(result: dict[str, Any]) -> bool:
    """Whether a brush has a code, and that of its image."""
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
    """Where a region is, in pixels of an image of (height, width)."""
    if kind == "brush":
        return Bitmap(partial(brush_mask, value["rle"], size), size, 0, 0)
    height, width = size[0] / 100, size[1] / 100  # pixels of a percent
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
    # the corner stays where it is: the center is half a diagonal from it, turned
    cos, sin = math.cos(math.radians(turn)), math.sin(math.radians(turn))
    cx, cy = x + (w * cos - h * sin) / 2, y + (w * sin + h * cos) / 2
    return box(cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2, turn, kind="rectangle")


def write(writing: Writing) -> str:
    """Writes the tasks, and beside them the labeling config that fits (`NAME.config.xml`).

    It is that of our masks, so that one project takes both.

    Regions are called `p2seg-7`, 7 our annotation id; Label Studio keeps the names.
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
