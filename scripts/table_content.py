"""Computes the JSON content of a reproduced table from the reports of its runs."""

from __future__ import annotations

import re
import shlex
from argparse import Namespace
from typing import Any

from table_rows import Table

PLACES = {
    "data.source=": "DIR",
    "semantic.maps=": "DIR",
    "semantic.sam.checkpoint=": "FILE",
    "model.weights=": "FILE",
    "segmentor.weights=": "FILE",
}
"""Settings whose value is a local path, and the placeholder that a table shows instead."""

COUNTS = r"iou\d+|default_boxes|seed_masks|corrected_images|clicks|removals|keys|actions"
"""Names of values that are counts; all others are fractions."""


def command_of(words: list[str], asked: Namespace) -> str:
    """Returns the command of a table or of a row, without local paths.

    Args:
        words: script name after `scripts/reproduce_`, and its options.
        asked: the command line, with `seeds` and `words`.
    """
    settings = [
        next((f"{k}{v}" for k, v in PLACES.items() if w.startswith(k)), w) for w in asked.words
    ]
    script, *more = words
    seeds = ["--seeds", *map(str, asked.seeds)]
    return shlex.join([f"./scripts/reproduce_{script}", *more, *seeds, *settings])


def content_of(
    table: Table, asked: Namespace, reports: dict[tuple[str, int], dict[str, Any]]
) -> dict[str, Any]:
    """Returns the JSON content of a table; values that no report has are omitted."""
    rows, data, seeds = [], asked.data, asked.seeds
    for row in table.rows:
        ours: dict[str, Any] = {}
        for column, keys in table.columns.items():
            own = [_of_stage(key, row.stage) for key in keys]
            scores = [_at(reports[row.name, s], own) for s in seeds if (row.name, s) in reports]
            values = [value for value in scores if value is not None]
            if values:
                spread = (max(values) - min(values)) / 2
                ours[column] = {"mean": sum(values) / len(values), "half_range": spread}
        paper = dict(zip(table.columns, row.paper, strict=False))
        rows.append({"row": row.name, "ours": ours, "paper": paper, "missing": row.missing})
    known = {column for row in rows for column in (*row["ours"], *row["paper"])}
    return {
        "title": table.title,
        "data": data,
        "seeds": seeds,
        "columns": [column for column in table.columns if column in known],
        "rows": rows,
        "note": table.note,
        "commits": sorted({str(each["run"]["versions"]["commit"]) for each in reports.values()}),
    }


def _of_stage(key: str, stage: str) -> str:
    """Returns the report's key of a stage in place of `mdm` or `segmentor`."""
    if stage == "mdm":
        return key
    return {"mdm": stage, "segmentor": f"segmentor_{stage}"}.get(key, key)


def _at(report: dict[str, Any], keys: list[str]) -> float | None:
    """Returns a count, or a fraction in percent, from a report; None if the stage is missing."""
    value: Any = report.get(keys[0])
    for key in keys[1:]:
        value = None if value is None else value[key]
    if value is None:
        return None
    return float(value) * (1 if re.fullmatch(COUNTS, keys[-1]) else 100)
