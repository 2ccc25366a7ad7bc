"""The report of a data set: one page that needs no other file, and the same for machines."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files as resources
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from p2seg.apps.report.pictures import palette
from p2seg.apps.validate.findings import Finding
from p2seg.apps.validate.inspect import Inspection
from p2seg.apps.validate.pictures import Drawn
from p2seg.runtime.files import write_json, write_text

CLASSES = 30
"""Classes that have a bar; of more, those with most points."""
QUALITY = [cv2.IMWRITE_JPEG_QUALITY, 86]


def write_page(folder: Path, made: Inspection, drawn: Sequence[Drawn]) -> Path:
    """Writes `validate.html` and `validate.json`.

    Args:
        folder: where to.
        made: what was seen.
        drawn: images with their points.

    Returns:
        The page.
    """
    write_json(folder / "validate.json", summary(made), indent=1)
    style = resources("p2seg.apps.validate").joinpath("page.css").read_text(encoding="utf-8")
    title = escape(f"{made.inputs.points.name} - p2seg")
    page = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">\n"
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>\n{style}</style>\n</head>\n<body>\n"
        + "\n".join([_head(made), *_sections(made, drawn)])
        + "\n</body>\n</html>\n"
    )
    write_text(folder / "validate.html", page.encode("utf-8", "replace").decode())
    return folder / "validate.html"


def summary(made: Inspection) -> dict[str, Any]:
    """All that was found, as JSON can hold it."""
    return {
        "usable": made.usable,
        "points": str(made.inputs.points),
        "images": str(made.inputs.images),
        "facts": made.facts,
        "classes": [{"name": name, "points": count} for name, count in _class_counts(made)],
        "findings": [
            {
                "kind": each.kind,
                "severity": each.severity,
                "count": each.count,
                "seen": each.seen,
                "fix": each.fix,
                "examples": each.examples,
            }
            for each in made.findings.worst_first
        ],
    }


def verdict(made: Inspection) -> tuple[str, str]:
    """The severity of the worst finding, or `good`; and what it means."""
    found = made.findings.worst_first
    stopping = len(made.findings.stopping)
    if stopping:
        kinds = "one kind of mistake" if stopping == 1 else f"{stopping} kinds of mistakes"
        return "stops", f"Not usable yet: {kinds} would stop training"
    if found and found[0].severity == "warning":
        count = sum(each.severity == "warning" for each in found)
        kinds = "one thing" if count == 1 else f"{count} things"
        return "warning", f"Usable; {kinds} to look at before"
    return "good", "Usable; nothing is wrong that could be seen"


def _head(made: Inspection) -> str:
    kind, text = verdict(made)
    tiles = "".join(
        f"<div><b>{escape(made.facts[key])}</b><span>{key}</span></div>"
        for key in ("images", "points", "classes")
    )
    return (
        f"<header><h1>{escape(made.inputs.points.name)}</h1>"
        f"<p>{escape(str(made.inputs.points))} on {escape(str(made.inputs.images))}</p>"
        f'<p class="verdict {kind}">{text}</p><div class="tiles">{tiles}</div></header>'
    )


def _sections(made: Inspection, drawn: Sequence[Drawn]) -> Iterable[str]:
    found = made.findings.worst_first
    if found:
        yield _section("Findings", "".join(map(_finding, found)))
    charts = _classes(made) + _histogram(made)
    yield _section("Points", f'<div class="charts">{charts}</div>')
    if drawn:
        yield _section("Twelve images" if len(drawn) == 12 else "Images", _pictures(made, drawn))
    rows = "".join(
        f'<tr><th scope="row">{escape(key)}</th><td>{escape(value)}</td></tr>'
        for key, value in made.facts.items()
    )
    yield _section("Figures", f'<table class="facts"><tbody>{rows}</tbody></table>')


def _section(title: str, content: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{content}</section>"


def _finding(each: Finding) -> str:
    examples = "".join(f"<li>{escape(example)}</li>" for example in each.examples)
    more = each.count - len(each.examples)
    examples += f"<li>and {more:,} more</li>" if more > 0 and each.examples else ""
    seen = escape(each.seen[0].upper() + each.seen[1:])
    count = f'<span class="count">{each.count:,}</span>' if each.counted else ""
    return (
        f'<div class="finding"><span class="chip {each.severity}">{each.severity}</span><div>'
        f'<p class="seen">{seen}{count}</p>'
        f'<p class="fix soft">To do: {escape(each.fix)}.</p><ul>{examples}</ul></div></div>'
    )


def _class_counts(made: Inspection) -> list[tuple[str, int]]:
    clicks = made.clicks
    counts = np.bincount(clicks.labels, minlength=len(clicks.categories) + 1)[1:].tolist()
    return [(each.name, count) for each, count in zip(clicks.categories, counts, strict=True)]


def _classes(made: Inspection) -> str:
    """A bar a class."""
    colors = _colors(made)
    rows = [(name, count, colors[k]) for k, (name, count) in enumerate(_class_counts(made))]
    rows.sort(key=lambda row: -row[1])
    left = len(rows) - CLASSES
    note = f'<p class="soft">and {left} classes with fewer</p>' if left > 0 else ""
    return f"<div><h3>points of each class</h3>{_bars(rows[:CLASSES])}{note}</div>"


def _histogram(made: Inspection) -> str:
    """A bar for how many images have so many points."""
    clicks = made.clicks
    counts = np.bincount(clicks.places, minlength=len(clicks.images))
    most = int(counts.max(initial=0))
    edges = [0, 1, 2, 3, 5, 9, 17, 33, 65, 129, 257, 513]
    rows = []
    for low, high in zip(edges, [*edges[1:], most + 514], strict=True):
        if low > most:
            break
        name = str(low) if high - low == 1 else f"{low} to {high - 1}" if high < 600 else f"{low}+"
        rows.append((name, int(((counts >= low) & (counts < high)).sum()), ""))
    return f"<div><h3>images with so many points</h3>{_bars(rows)}</div>"


def _bars(rows: Sequence[tuple[str, int, str]]) -> str:
    longest = max([1, *(count for _, count, _ in rows)])
    body = "".join(
        f'<tr><th scope="row">{_dot(color)}{escape(name)}</th>'
        f'<td class="room">{_bar(count / longest, color)}</td><td>{count:,}</td></tr>'
        for name, count, color in rows
    )
    return f'<table class="bars"><tbody>{body}</tbody></table>'


def _pictures(made: Inspection, drawn: Sequence[Drawn]) -> str:
    names = [category.name for category in made.clicks.categories]
    legend = "".join(
        f"<span>{_dot(color)}{escape(name)}</span>"
        for name, color in zip(names[:CLASSES], _colors(made), strict=False)
    )
    figures = "".join(map(_figure, drawn))
    return f'<div class="legend">{legend}</div><div class="pictures">{figures}</div>'


def _figure(each: Drawn) -> str:
    code = cv2.imencode(".jpg", each.picture[:, :, ::-1], QUALITY)[1].tobytes()
    source = f"data:image/jpeg;base64,{base64.b64encode(code).decode()}"
    count = f"{each.points} point{'' if each.points == 1 else 's'}"
    why = f"{count}; {each.why}" if each.why else count
    name = escape(each.name)
    return (
        f'<figure><img src="{source}" alt="{name} with its points">'
        f"<figcaption>{name}<span>{escape(why)}</span></figcaption></figure>"
    )


def _colors(made: Inspection) -> list[str]:
    return [f"#{bytes(each).hex()}" for each in palette(len(made.clicks.categories))]


def _dot(color: str) -> str:
    return f'<span class="dot" style="background:{color}"></span>' if color else ""


def _bar(share: float, color: str) -> str:
    paint = f";background:{color}" if color else ""
    return f'<i style="width:{100 * share:.1f}%{paint}"></i>' if share else ""
