"""Formats a reproduced table as Markdown."""

from __future__ import annotations

from typing import Any


def markdown_of(content: dict[str, Any]) -> list[str]:
    """Returns the Markdown lines of a table's JSON content."""
    seeds = ", ".join(map(str, content["seeds"]))
    lines = [f"**{content['title']}**; ours: `{content['data']}` data, seeds {seeds}", ""]
    columns = content["columns"]
    compared = any(row["paper"] for row in content["rows"])  # the paper has no ablations
    head = [f"{c}, {who}" for c in columns for who in ("paper", "ours")]
    head = head if compared else columns
    lines += ["| row | " + " | ".join(head) + " |", "| --- " * (len(head) + 1) + "|"]
    for row in content["rows"]:
        cells = []
        for column in columns:
            paper, ours = row["paper"].get(column), row["ours"].get(column)
            if compared:
                cells.append("" if paper is None else f"{paper:g}")
            cells.append("" if ours is None else f"{ours['mean']:.1f} ± {ours['half_range']:.1f}")
        lines.append(f"| {row['row']} | " + " | ".join(cells) + " |")
    notes = [row["row"] + ": " + row["missing"] for row in content["rows"] if not row["ours"]]
    return [*lines, "", *filter(None, [content["note"], "; ".join(notes)])]
