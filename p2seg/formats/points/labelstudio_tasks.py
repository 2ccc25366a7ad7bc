"""The tasks of a Label Studio export: the image of a task, and the regions of its annotation."""

from __future__ import annotations

from itertools import chain
from typing import Any

from p2seg.data.images import SUFFIXES
from p2seg.errors import UserError
from p2seg.formats.points.base import Found, list_at, object_of

USUAL = ("image", "img", "picture", "photo")
"""Usual keys of the image, for tasks with several."""


def is_labelstudio(content: Any) -> bool:
    """Whether the content of a JSON is a list of Label Studio tasks, judged by the first one."""
    if not isinstance(content, list) or not content or not isinstance(content[0], dict):
        return False
    if isinstance(content[0].get("data"), dict):
        return True
    return "annotator" in content[0] or "annotation_id" in content[0] or "lead_time" in content[0]


def one_per_image(tasks: list[Any], found: Found) -> list[Any]:
    """The last task with regions per image. JSON-MIN has one task per annotation."""
    kept: dict[Any, Any] = {}
    for place, task in enumerate(tasks):
        id = task.get("id") if isinstance(task, dict) and "data" not in task else None
        key = id if isinstance(id, (int, str)) else (place,)
        before = kept.get(key)
        if before is not None:
            found.left_out["other annotations of a task"] += 1
        if before is None or regions_of_min(task) or not regions_of_min(before):
            kept[key] = task
    return list(kept.values())


def annotations_of(task: dict[str, Any]) -> Any:
    """The annotations of a task, in current and in old exports."""
    return task.get("annotations") or task.get("completions")


def image_names(data: dict[str, Any], apart: bool, where: str) -> tuple[str, ...]:
    """The names of the task's image; see `Picture.names`."""
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
        raise UserError(f"{where} has {what} in its data; make one task per image")
    return (texts[named[0]],)


def results_of(task: dict[str, Any], where: str, found: Found) -> list[Any]:
    """The results of the annotation marked as ground truth, else of the last non-empty one.

    A later annotation without regions does not delete the regions of an earlier one.
    """
    annotations = [
        object_of(each, f"{where}: an annotation")
        for each in list_at(task, "annotations", where) or list_at(task, "completions", where)
    ]
    kept = [each for each in annotations if not each.get("was_cancelled")]
    if len(annotations) > len(kept):
        found.left_out["skipped annotations"] += len(annotations) - len(kept)
    if len(kept) > 1:
        found.left_out["other annotations of a task"] += len(kept) - 1
    if not annotations and task.get("predictions"):
        found.left_out["predictions of tasks that nobody annotated"] += 1
    if not annotations and task.get("drafts"):
        found.left_out["drafts of tasks that nobody submitted"] += 1
    if not kept:
        return []
    ground_truth = [each for each in kept if each.get("ground_truth")]
    filled = [each for each in kept if list_at(each, "result", where)]
    return list_at((ground_truth or filled or kept)[-1], "result", where)


def regions_of_min(task: dict[str, Any]) -> list[Any]:
    """The regions of a JSON-MIN task, which has one list per tag of the labeling config."""
    lists = [each for each in task.values() if isinstance(each, list)]
    regions = []
    for value in chain.from_iterable(lists):
        if isinstance(value, dict) and ("original_width" in value or "x" in value):
            kind = next((k for k in value if k.endswith("labels")), "")
            regions.append({"type": kind or "unknown", "value": value} | value)
    return regions
