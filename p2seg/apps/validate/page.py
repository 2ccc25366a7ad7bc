"""Writes the report of a data set: one self-contained page, and a JSON file."""

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
from p2seg.apps.validate.pictures import Example
from p2seg.runtime.files import write_json, write_text

CLASSES = 30
"""Maximum number of classes with a bar; with more classes, those with most points."""
QUALITY = [cv2.IMWRITE_JPEG_QUALITY, 86]


def write_page(folder: Path, inspection: Inspection, examples: Sequence[Example]) -> Path:
    """Writes `validate.html` and `validate.json`.

    Args:
        folder: output folder.
        inspection: the result of the checks.
        examples: example images with their points.

    Returns:
        The path of the page.
    """
    write_json(folder / "validate.json", summary(inspection), indent=1)
    style = resources("p2seg.apps.validate").joinpath("page.css").read_text(encoding="utf-8")
    title = escape(f"{inspection.inputs.points.name} - p2seg")
    page = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">\n"
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>\n{style}</style>\n</head>\n<body>\n"
        + "\n".join([_head(inspection), *_sections(inspection, examples)])
        + "\n</body>\n</html>\n"
    )
    write_text(folder / "validate.html", page.encode("utf-8", "replace").decode())
    return folder / "validate.html"


def summary(inspection: Inspection) -> dict[str, Any]:
    """Returns the result of the checks as JSON data."""
    return {
        "usable": inspection.usable,
        "points": str(inspection.inputs.points),
        "images": str(inspection.inputs.images),
        "facts": inspection.facts,
        "classes": [{"name": name, "points": count} for name, count in _class_counts(inspection)],
        "findings": [
            {
                "kind": each.kind,
                "severity": each.severity,
                "count": each.count,
                "seen": each.problem,
                "fix": each.fix,
                "examples": each.examples,
            }
            for each in inspection.findings.worst_first
        ],
    }


def verdict(inspection: Inspection) -> tuple[str, str]:
    """Returns the severity of the worst finding, or `good`, and its meaning."""
    findings = inspection.findings.worst_first
    stopping = len(inspection.findings.stopping)
    if stopping:
        kinds = "1 kind of problem" if stopping == 1 else f"{stopping} kinds of problems"
        return "stops", f"Not usable yet: {kinds} would stop training"
    if findings and findings[0].severity == "warning":
        count = sum(each.severity == "warning" for each in findings)
        kinds = "1 warning" if count == 1 else f"{count} warnings"
        return "warning", f"Usable, with {kinds} to check before training"
    return "good", "Usable; no problem found"


def _head(inspection: Inspection) -> str:
    kind, text = verdict(inspection)
    tiles = "".join(
        f"<div><b>{escape(inspection.facts[key])}</b><span>{key}</span></div>"
        for key in ("images", "points", "classes")
    )
    return (
        f"<header><h1>{escape(inspection.inputs.points.name)}</h1>"
        f"<p>{escape(str(inspection.inputs.points))} on {escape(str(inspection.inputs.images))}</p>"
        f'<p class="verdict {kind}">{text}</p><div class="tiles">{tiles}</div></header>'
    )


def _sections(inspection: Inspection, examples: Sequence[Example]) -> Iterable[str]:
    findings = inspection.findings.worst_first
    if findings:
        yield _section("Findings", "".join(map(_finding, findings)))
    charts = _classes(inspection) + _histogram(inspection)
    yield _section("Points", f'<div class="charts">{charts}</div>')
    if examples:
        yield _section("Example images", _pictures(inspection, examples))
    rows = "".join(
        f'<tr><th scope="row">{escape(key)}</th><td>{escape(value)}</td></tr>'
        for key, value in inspection.facts.items()
    )
    yield _section("Figures", f'<table class="facts"><tbody>{rows}</tbody></table>')


def _section(title: str, content: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{content}</section>"


def _finding(each: Finding) -> str:
    examples = "".join(f"<li>{escape(example)}</li>" for example in each.examples)
    more = each.count - len(each.examples)
    examples += f"<li>and {more:,} more</li>" if more > 0 and each.examples else ""
    seen = escape(each.problem[0].upper() + each.problem[1:])
    count = f'<span class="count">{each.count:,}</span>' if each.counted else ""
    return (
        f'<div class="finding"><span class="chip {each.severity}">{each.severity}</span><div>'
        f'<p class="seen">{seen}{count}</p>'
        f'<p class="fix soft">To do: {escape(each.fix)}.</p><ul>{examples}</ul></div></div>'
    )


def _class_counts(inspection: Inspection) -> list[tuple[str, int]]:
    clicks = inspection.clicks
    counts = np.bincount(clicks.labels, minlength=len(clicks.categories) + 1)[1:].tolist()
    return [(each.name, count) for each, count in zip(clicks.categories, counts, strict=True)]


def _classes(inspection: Inspection) -> str:
    colors = _colors(inspection)
    rows = [(name, count, colors[k]) for k, (name, count) in enumerate(_class_counts(inspection))]
    rows.sort(key=lambda row: -row[1])
    left = len(rows) - CLASSES
    note = f'<p class="soft">and {left} classes with fewer</p>' if left > 0 else ""
    return f"<div><h3>points per class</h3>{_bars(rows[:CLASSES])}{note}</div>"


def _histogram(inspection: Inspection) -> str:
    clicks = inspection.clicks
    counts = np.bincount(clicks.places, minlength=len(clicks.images))
    most = int(counts.max(initial=0))
    edges = [0, 1, 2, 3, 5, 9, 17, 33, 65, 129, 257, 513]
    rows = []
    for low, high in zip(edges, [*edges[1:], most + 514], strict=True):
        if low > most:
            break
        name = str(low) if high - low == 1 else f"{low} to {high - 1}" if high < 600 else f"{low}+"
        rows.append((name, int(((counts >= low) & (counts < high)).sum()), ""))
    return f"<div><h3>number of images by number of points</h3>{_bars(rows)}</div>"


def _bars(rows: Sequence[tuple[str, int, str]]) -> str:
    longest = max([1, *(count for _, count, _ in rows)])
    body = "".join(
        f'<tr><th scope="row">{_dot(color)}{escape(name)}</th>'
        f'<td class="room">{_bar(count / longest, color)}</td><td>{count:,}</td></tr>'
        for name, count, color in rows
    )
    return f'<table class="bars"><tbody>{body}</tbody></table>'


def _pictures(inspection: Inspection, examples: Sequence[Example]) -> str:
    names = [category.name for category in inspection.clicks.categories]
    legend = "".join(
        f"<span>{_dot(color)}{escape(name)}</span>"
        for name, color in zip(names[:CLASSES], _colors(inspection), strict=False)
    )
    figures = "".join(map(_figure, examples))
    return f'<div class="legend">{legend}</div><div class="pictures">{figures}</div>'


def _figure(each: Example) -> str:
    code = cv2.imencode(".jpg", each.picture[:, :, ::-1], QUALITY)[1].tobytes()
    source = f"data:image/jpeg;base64,{base64.b64encode(code).decode()}"
    count = f"{each.points} point{'' if each.points == 1 else 's'}"
    why = f"{count}; {each.why}" if each.why else count
    name = escape(each.name)
    return (
        f'<figure><img src="{source}" alt="{name} with its points">'
        f"<figcaption>{name}<span>{escape(why)}</span></figcaption></figure>"
    )


def _colors(inspection: Inspection) -> list[str]:
    return [f"#{bytes(each).hex()}" for each in palette(len(inspection.clicks.categories))]


def _dot(color: str) -> str:
    return f'<span class="dot" style="background:{color}"></span>' if color else ""


def _bar(share: float, color: str) -> str:
    paint = f";background:{color}" if color else ""
    return f'<i style="width:{100 * share:.1f}%{paint}"></i>' if share else ""
