"""The score tables of a report: semantic maps, pseudo masks and models."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from html import escape
from typing import Any

from p2seg.evaluation.metrics import from_oracle, saw_masks
from p2seg.evaluation.quality import TOUCHING
from p2seg.evaluation.tables import fraction, percent
from p2seg.evaluation.voc import THRESHOLDS

Column = tuple[str, tuple[str, ...], Callable[[Any], str]]
"""Title, path of the value in the scores of a stage, and format."""
COCO_ALL = "COCO AP, all detections"
"""Title of the score with all detections of an image; COCO's protocol uses at most 100."""
MAP_COLUMNS: tuple[Column, ...] = (
    ("mIoU", ("miou",), percent),
    ("mIoU where labeled", ("miou_labeled",), percent),
    ("labeled", ("labeled",), percent),
)
PSEUDO_COLUMNS: tuple[Column, ...] = (
    ("instances", ("quality", "instances"), str),
    ("mean IoU", ("quality", "mean_iou"), fraction),
    ("multi mean IoU", ("quality", "multi_mean_iou"), fraction),
    ("touching mean IoU", ("quality", "touching_mean_iou"), fraction),
    ("mIoU of classes", ("quality", "miou"), percent),
    ("IoU > 0.5", ("quality", "iou50"), str),
    ("IoU > 0.7", ("quality", "iou70"), str),
    ("IoU > 0.9", ("quality", "iou90"), str),
    ("masks of seeds", ("quality", "seed_masks"), str),
    ("default boxes", ("quality", "default_boxes"), str),
    ("VOC mAP50", ("voc_area", "mAP50"), percent),
    ("VOC mAP75", ("voc_area", "mAP75"), percent),
    ("AJI", ("matching", "AJI"), fraction),
    ("PQ", ("matching", "PQ"), fraction),
    ("COCO AP", ("coco", "AP"), percent),
    (COCO_ALL, ("coco_all", "AP"), percent),
    ("VOC mAP50, scores 1", ("scores_one", "voc_area", "mAP50"), percent),
)
STAGES = {
    "seed": "the instances from which the network learns",
    "control": "Eq. 1, without a network",
    "sam": "the selected masks without a network",
    "sam_network": "the masks selected by the network",
    "untrained": "the network before training",
    "mdm": "the trained network",
}
"""The meaning of the stages in the table of pseudo masks."""
MODEL_COLUMNS: tuple[Column, ...] = (
    *((f"VOC mAP{name}", ("voc_area", f"mAP{name}"), percent) for name in THRESHOLDS),
    ("COCO AP", ("coco", "AP"), percent),
    ("COCO AP50", ("coco", "AP50"), percent),
    ("COCO AP75", ("coco", "AP75"), percent),
    (COCO_ALL, ("coco_all", "AP"), percent),
    ("AJI", ("matching", "AJI"), fraction),
    ("PQ", ("matching", "PQ"), fraction),
)


def score_tables(stages: dict[str, dict[str, Any]]) -> Iterable[str]:
    """Yields the tables of scores; pseudo masks and models get separate tables."""
    maps = {name: each for name, each in stages.items() if "miou" in each}
    pseudo = {name: each for name, each in stages.items() if "quality" in each}
    models = {name: each for name, each in stages.items() if "voc_area" in each}
    models = {name: each for name, each in models.items() if name not in pseudo}
    if maps:
        yield _table("Semantic maps", "in percent", MAP_COLUMNS, maps)
    if pseudo:
        note = (
            "points given; multi: objects with another object of their class in the image; "
            f"touching: objects within {TOUCHING} pixels of one; AP in percent"
        )
        meanings = "".join(f"; {name}: {STAGES[name]}" for name in pseudo if name in STAGES)
        note = f"{_split(pseudo)}{note}{meanings}"
        yield _table("Pseudo masks", note, PSEUDO_COLUMNS, pseudo, versus=("mdm", "control"))
    if models:
        note = f"{_split(models)}no points, no image labels; in percent"
        yield _table("Models", note, MODEL_COLUMNS, models)


def _split(stages: dict[str, dict[str, Any]]) -> str:
    splits = dict.fromkeys(
        each["run"]["split"] for each in stages.values() if "split" in each["run"]
    )
    return "".join(f"{split}; " for split in splits)


def _table(
    title: str,
    note: str,
    columns: tuple[Column, ...],
    stages: dict[str, dict[str, Any]],
    versus: tuple[str, str] | None = None,
) -> str:
    """Returns a table without empty columns; `versus` adds the difference of two stages."""
    columns = tuple(c for c in columns if any(_at(m, c[1]) is not None for m in stages.values()))
    head = "".join(f"<th>{escape(name)}</th>" for name, _, _ in columns)
    body = ""
    for stage, metrics in stages.items():
        tags = ("oracle", is_oracle(metrics)), ("masks seen", saw_masks(metrics.get("run", {})))
        tag = "".join(f' <span class="tag">{word}</span>' for word, applies in tags if applies)
        cells = "".join(_cell(form, _at(metrics, path)) for _, path, form in columns)
        body += f'<tr><th scope="row">{escape(stage)}{tag}</th>{cells}</tr>\n'
    if versus and set(versus) <= set(stages):
        first, second = (stages[name] for name in versus)
        cells = "".join(_gain(form, _at(first, p), _at(second, p)) for _, p, form in columns)
        body += f'<tr class="gain"><th scope="row">{" - ".join(versus)}</th>{cells}</tr>\n'
    table = (
        f'<table class="scores"><thead><tr><th></th>{head}</tr></thead>\n'
        f"<tbody>\n{body}</tbody></table>"
    )
    return section(title, f'<div class="wide">{table}</div>', note)


def _at(metrics: dict[str, Any], path: tuple[str, ...]) -> Any:
    value: Any = metrics
    for key in path:
        value = None if value is None else value.get(key)
    return value


def _cell(form: Callable[[Any], str], value: Any) -> str:
    return f"<td>{'-' if value is None else escape(form(value))}</td>"


def _gain(form: Callable[[Any], str], first: Any, second: Any) -> str:
    if first is None or second is None:
        return "<td>-</td>"
    sign = "+" if first >= second else ""
    return f"<td>{sign}{escape(form(first - second))}</td>"


def is_oracle(metrics: dict[str, Any]) -> bool:
    """Returns whether the scores come from semantic maps drawn from the ground truth."""
    return from_oracle(metrics.get("run", {}))


def section(title: str, content: str, note: str = "") -> str:
    """Returns a section of the page with a heading and an optional note."""
    below = f'<p class="note">{escape(note)}</p>' if note else ""
    return f"<section><h2>{escape(title)}</h2>{below}{content}</section>"
