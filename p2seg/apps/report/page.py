"""The report of an experiment: a page to look at, and the same figures as JSON."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files as resources
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from p2seg.apps.report.pictures import write_png
from p2seg.evaluation.metrics import from_oracle, saw_masks
from p2seg.evaluation.quality import TOUCHING
from p2seg.evaluation.tables import flat, fraction, percent
from p2seg.evaluation.voc import THRESHOLDS
from p2seg.runtime.files import write_bytes, write_json, write_text

LONGEST_SIDE = 480
"""Of a picture, pixels; larger ones are made smaller."""
JPEG = [
    *(cv2.IMWRITE_JPEG_QUALITY, 92),
    *(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444),
]

Pictures = dict[tuple[int, str], str]
"""The file names of the pictures, by row and column."""

Column = tuple[str, tuple[str, ...], Callable[[Any], str]]
"""Title, where the value stands in the scores of a stage, and how it is written."""
COCO_ALL = "COCO AP, all detections"
"""Where an image has more than the 100 that COCO's protocol takes."""
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
    "seed": "the labels that the network learns from",
    "control": "Eq. 1, no network",
    "sam": "the chosen masks as they are",
    "sam_network": "the masks that the network chooses",
    "untrained": "the network before its training",
    "mdm": "the trained network",
}
"""What the stages of the table of pseudo masks are."""
ROWS_NOTE = "one color per click"
SHOWN_SCORE = 0.5
"""Detections of a segmentor from this score on are shown."""
UNSEEN_NOTE = f"no clicks; detections with a score of at least {SHOWN_SCORE}"
MODEL_COLUMNS: tuple[Column, ...] = (
    *((f"VOC mAP{name}", ("voc_area", f"mAP{name}"), percent) for name in THRESHOLDS),
    ("COCO AP", ("coco", "AP"), percent),
    ("COCO AP50", ("coco", "AP50"), percent),
    ("COCO AP75", ("coco", "AP75"), percent),
    (COCO_ALL, ("coco_all", "AP"), percent),
    ("AJI", ("matching", "AJI"), fraction),
    ("PQ", ("matching", "PQ"), fraction),
)


@dataclass(frozen=True)
class ReportRow:
    """The pictures of one image.

    Attributes:
        name: of the image.
        images: by the title of their column, `[H, W, 3]` uint8 RGB; a column that a row lacks
            stays empty there.
    """

    name: str
    images: dict[str, NDArray[np.uint8]]


def write_report(
    folder: Path,
    rows: list[ReportRow],
    stages: dict[str, dict[str, Any]],
    run: dict[str, Any],
    seconds: dict[str, float],
    figures: Mapping[str, NDArray[np.uint8]] | None = None,
    method: str = "",
    unseen: Sequence[ReportRow] = (),
) -> None:
    """Writes `report.html` with its pictures in `report/`, and `report.json`.

    Args:
        folder: where to.
        rows: the pictures, a row an image.
        stages: by name and in the order to show, `{"miou": ...}` for semantic maps and what
            `p2seg.evaluation.metrics.evaluate` gives for all others; they become the keys of
            `report.json`, beside `seconds` and `run`.
        run: what was run: name, seed, commit, parameters.
        seconds: the time each stage took, seconds.
        figures: pictures shown whole below the rows, by title, `[H, W, 3]` uint8 RGB; they lie in
            `report/` as PNG.
        method: a line about it, shown below the name.
        unseen: pictures of images that the segmentors did not learn from, in a table of their own.
    """
    pictures = _write_pictures(folder / "report", [*rows, *unseen])
    name = str(run.get("name", folder.name))
    oracle = from_oracle(run) or any(_oracle(metrics) for metrics in stages.values())
    told = f'<p class="note">{escape(method)}</p>' if method else ""
    body = [
        f"<header><h1>{escape(name)}</h1>{told}{ORACLE if oracle else ''}</header>",
        "<main>",
        *_scores(stages),
        _seconds(seconds),
        _pictures("Training images", ROWS_NOTE, rows, pictures, 0),
        _pictures("Images that the segmentor never saw", UNSEEN_NOTE, unseen, pictures, len(rows)),
        *_figures(folder / "report", figures or {}),
        _facts(run),
        "</main>",
    ]
    style = resources("p2seg.apps.report").joinpath("report.css").read_text(encoding="utf-8")
    write_json(folder / "report.json", {**stages, "seconds": seconds, "run": run}, indent=2)
    write_text(folder / "report.html", _page(name, style, "\n".join(body)))


ORACLE = (
    '<p class="oracle">ORACLE: the semantic maps were painted from the ground truth. '
    "A score from them is an upper bound.</p>"
)


def _page(name: str, style: str, body: str) -> str:
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(name)} - p2seg</title>\n<style>\n{style}</style>\n</head>\n"
        f"<body>\n{body}\n</body>\n</html>\n"
    )


def _write_pictures(folder: Path, rows: list[ReportRow]) -> Pictures:
    """Writes the pictures; those of an earlier report that this one does not have are removed."""
    written: Pictures = {}
    for number, row in enumerate(rows):
        for column, (title, image) in enumerate(row.images.items()):
            name = f"{number:03d}-{column}-{_slug(title)}.jpg"
            bgr = cv2.cvtColor(_small(image), cv2.COLOR_RGB2BGR)
            _, encoded = cv2.imencode(".jpg", bgr, JPEG)
            write_bytes(folder / name, encoded.tobytes())
            written[number, title] = name
    names = set(written.values())
    for old in folder.glob("[0-9][0-9][0-9]-*.jpg"):
        if old.name not in names:
            old.unlink()
    return written


def _figures(folder: Path, figures: Mapping[str, NDArray[np.uint8]]) -> Iterable[str]:
    """Writes the figures and gives their sections; those of an earlier report are removed."""
    names = {f"figure-{_slug(title)}.png": title for title in figures}
    for old in folder.glob("figure-*.png"):
        if old.name not in names:
            old.unlink()
    for name, title in names.items():
        write_png(folder / name, figures[title])
        source = f"report/{name}"
        picture = (
            f'<a href="{source}"><img loading="lazy" src="{source}" alt="{escape(title)}"></a>'
        )
        yield _section(title, f'<div class="wide">{picture}</div>')


def _slug(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:40]


def _small(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = image.shape[:2]
    scale = LONGEST_SIDE / max(height, width)
    if scale >= 1:
        return image
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def _scores(stages: dict[str, dict[str, Any]]) -> Iterable[str]:
    """The tables of scores; pseudo masks and models never stand in one."""
    maps = {name: each for name, each in stages.items() if "miou" in each}
    pseudo = {name: each for name, each in stages.items() if "quality" in each}
    models = {name: each for name, each in stages.items() if "voc_area" in each}
    models = {name: each for name, each in models.items() if name not in pseudo}
    if maps:
        yield _table("Semantic maps", "in percent", MAP_COLUMNS, maps)
    if pseudo:
        note = (
            "points given; multi: with another instance of their class in the image; "
            f"touching: within {TOUCHING} pixels of one; AP in percent"
        )
        told = "".join(f"; {name}: {STAGES[name]}" for name in pseudo if name in STAGES)
        note = f"{_split(pseudo)}{note}{told}"
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
    """One table without empty columns; `versus` adds the difference of two stages as a last row."""
    columns = tuple(c for c in columns if any(_at(m, c[1]) is not None for m in stages.values()))
    head = "".join(f"<th>{escape(name)}</th>" for name, _, _ in columns)
    body = ""
    for stage, metrics in stages.items():
        tags = ("oracle", _oracle(metrics)), ("masks seen", saw_masks(metrics.get("run", {})))
        tag = "".join(f' <span class="tag">{word}</span>' for word, said in tags if said)
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
    return _section(title, f'<div class="wide">{table}</div>', note)


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


def _oracle(metrics: dict[str, Any]) -> bool:
    return from_oracle(metrics.get("run", {}))


def _seconds(seconds: dict[str, float]) -> str:
    if not seconds:
        return ""
    longest = max(max(seconds.values()), 1e-9)
    rows = "".join(
        f'<tr><th scope="row">{escape(stage)}</th><td>{duration(value)}</td>'
        f'<td class="bar"><i style="width:{100 * value / longest:.1f}%"></i></td></tr>\n'
        for stage, value in seconds.items()
    )
    total = duration(sum(seconds.values()))
    rows += f'<tr class="gain"><th scope="row">all</th><td>{total}</td></tr>'
    return _section("Time", f'<table class="time"><tbody>\n{rows}</tbody></table>')


def duration(seconds: float) -> str:
    """A time as people say it: `3.2 s`, `4 min 05 s`, `2 h 10 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def _pictures(
    heading: str, note: str, rows: Sequence[ReportRow], pictures: Pictures, first: int
) -> str:
    """A table of pictures; `first` is the number of its first row in `pictures`."""
    if not rows:
        return ""
    columns = list(dict.fromkeys(title for row in rows for title in row.images))
    head = "".join(f"<th>{escape(title)}</th>" for title in columns)
    body = ""
    for number, row in enumerate(rows, first):
        cells = ""
        for title in columns:
            if (number, title) not in pictures:
                cells += "<td></td>"
                continue
            source = f"report/{pictures[number, title]}"
            alt = escape(f"{title} of {row.name}")
            picture = f'<img loading="lazy" src="{source}" alt="{alt}">'
            cells += f'<td><a href="{source}">{picture}</a></td>'
        body += f'<tr><th scope="row" colspan="{len(columns)}">{escape(row.name)}</th></tr>'
        body += f"<tr>{cells}</tr>\n"
    width = f"width:min(100%,{14 * len(columns)}rem);min-width:{min(60, 8 * len(columns))}rem"
    table = (
        f'<table class="pictures" style="{width}"><thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}</tbody></table>"
    )
    return _section(heading, f'<div class="wide">{table}</div>', note)


def _facts(run: dict[str, Any]) -> str:
    rows = "".join(
        f'<tr><th scope="row">{escape(key)}</th><td>{escape(value)}</td></tr>\n'
        for key, value in flat(run).items()
    )
    return _section("Run", f'<table class="facts"><tbody>\n{rows}</tbody></table>')


def _section(title: str, content: str, note: str = "") -> str:
    below = f'<p class="note">{escape(note)}</p>' if note else ""
    return f"<section><h2>{escape(title)}</h2>{below}{content}</section>"
