"""Writes the report of an experiment: an HTML page, and its figures as JSON."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files as resources
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from p2seg.apps.report.pictures import write_png
from p2seg.apps.report.score_tables import is_oracle, score_tables, section
from p2seg.evaluation.metrics import from_oracle
from p2seg.evaluation.tables import flat
from p2seg.runtime.files import write_bytes, write_json, write_text

LONGEST_SIDE = 480
"""Most pixels on the longest side of a picture."""
JPEG = [
    *(cv2.IMWRITE_JPEG_QUALITY, 92),
    *(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444),
]

Pictures = dict[tuple[int, str], str]
"""The file names of the pictures by row and column."""

ROWS_NOTE = "one color per click"
SHOWN_SCORE = 0.5
"""Lowest score of the detections to draw."""
UNSEEN_NOTE = f"no clicks; detections with a score of at least {SHOWN_SCORE}"


@dataclass(frozen=True)
class ReportRow:
    """The pictures of one image in a table.

    Attributes:
        name: name of the image.
        images: by column title, `[H, W, 3]` uint8 RGB; a missing column stays empty in this row.
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
        folder: output folder.
        rows: one row of pictures per image.
        stages: by name, in the order to show: `{"miou": ...}` for semantic maps, and the result of
            `p2seg.evaluation.metrics.evaluate` for all others. They become keys of
            `report.json`, next to `seconds` and `run`.
        run: name, seed, commit and parameters of the run.
        seconds: duration of each stage in seconds.
        figures: by title, pictures `[H, W, 3]` uint8 RGB to show below the rows at full size; they
            are written to `report/` as PNG.
        method: one line about the method, shown below the name.
        unseen: pictures of images on which the segmentation models were not trained.
    """
    pictures = _write_pictures(folder / "report", [*rows, *unseen])
    name = str(run.get("name", folder.name))
    oracle = from_oracle(run) or any(is_oracle(metrics) for metrics in stages.values())
    note = f'<p class="note">{escape(method)}</p>' if method else ""
    body = [
        f"<header><h1>{escape(name)}</h1>{note}{ORACLE if oracle else ''}</header>",
        "<main>",
        *score_tables(stages),
        _seconds(seconds),
        _pictures("Training images", ROWS_NOTE, rows, pictures, 0),
        _pictures("Images not used in training", UNSEEN_NOTE, unseen, pictures, len(rows)),
        *_figures(folder / "report", figures or {}),
        _facts(run),
        "</main>",
    ]
    style = resources("p2seg.apps.report").joinpath("report.css").read_text(encoding="utf-8")
    write_json(folder / "report.json", {**stages, "seconds": seconds, "run": run}, indent=2)
    write_text(folder / "report.html", _page(name, style, "\n".join(body)))


ORACLE = (
    '<p class="oracle">ORACLE: the semantic maps were drawn from the ground truth. '
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
    """Writes the pictures and removes other pictures of an earlier report."""
    names: Pictures = {}
    for number, row in enumerate(rows):
        for column, (title, image) in enumerate(row.images.items()):
            name = f"{number:03d}-{column}-{_slug(title)}.jpg"
            bgr = cv2.cvtColor(_small(image), cv2.COLOR_RGB2BGR)
            _, encoded = cv2.imencode(".jpg", bgr, JPEG)
            write_bytes(folder / name, encoded.tobytes())
            names[number, title] = name
    for old in folder.glob("[0-9][0-9][0-9]-*.jpg"):
        if old.name not in names.values():
            old.unlink()
    return names


def _figures(folder: Path, figures: Mapping[str, NDArray[np.uint8]]) -> Iterable[str]:
    """Writes the figures, removes those of an earlier report, and yields the HTML sections."""
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
        yield section(title, f'<div class="wide">{picture}</div>')


def _slug(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:40]


def _small(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = image.shape[:2]
    scale = LONGEST_SIDE / max(height, width)
    if scale >= 1:
        return image
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


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
    return section("Time", f'<table class="time"><tbody>\n{rows}</tbody></table>')


def duration(seconds: float) -> str:
    """Formats a duration: `3.2 s`, `4 min 05 s`, `2 h 10 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def _pictures(
    heading: str, note: str, rows: Sequence[ReportRow], pictures: Pictures, first: int
) -> str:
    """Returns a table of pictures; `first` is the number of its first row in `pictures`."""
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
    return section(heading, f'<div class="wide">{table}</div>', note)


def _facts(run: dict[str, Any]) -> str:
    rows = "".join(
        f'<tr><th scope="row">{escape(key)}</th><td>{escape(value)}</td></tr>\n'
        for key, value in flat(run).items()
    )
    return section("Run", f'<table class="facts"><tbody>\n{rows}</tbody></table>')
