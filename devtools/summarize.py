"""Combines the reports of several random seeds into one table: mean ± half of the range.

python devtools/summarize.py outputs/drawn_seed0/report.json outputs/drawn_seed1/report.json
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from p2seg.cli.arguments import Parser, command
from p2seg.runtime.files import read_json

PSEUDO = {
    "mean IoU": ("quality", "mean_iou"),
    "multi mean IoU": ("quality", "multi_mean_iou"),
    "IoU > .5": ("quality", "iou50"),
    "IoU > .7": ("quality", "iou70"),
    "mAP50": ("voc_area", "mAP50"),
    "mAP50, scores 1": ("scores_one", "voc_area", "mAP50"),
}
MODEL = {
    "mAP25": ("voc_area", "mAP25"),
    "mAP50": ("voc_area", "mAP50"),
    "mAP75": ("voc_area", "mAP75"),
    "COCO AP": ("coco", "AP"),
}


def parser() -> Parser:
    """Returns the parser of the command line."""
    words = Parser(description="Mean and spread of several reports.", allow_abbrev=False)
    words.add_argument("reports", nargs="+", type=Path, metavar="report.json")
    return words


@command
def main(words: list[str]) -> None:
    """Prints the tables as Markdown."""
    files = parser().parse_args(words).reports
    reports = [read_json(file, "report") for file in files]
    names = [name for name in reports[0] if name not in ("seconds", "run")]
    stages = [name for name in names if all(name in report for report in reports)]
    pseudo = [name for name in stages if "quality" in reports[0][name]]
    models = [name for name in stages if name.startswith("segmentor")]
    miou = [report["semantic"]["miou"] for report in reports]
    out = [f"{len(reports)} reports; initial semantic maps: mIoU {_cell(miou)}", ""]
    out += _table("pseudo masks (training images, points given)", PSEUDO, pseudo, reports)
    if "mdm" in pseudo and "control" in pseudo:
        gains = {
            title: [_at(r["mdm"], path) - _at(r["control"], path) for r in reports]
            for title, path in PSEUDO.items()
        }
        out.append("| mdm - control | " + " | ".join(map(_cell, gains.values())) + " |")
    out += ["", *_table("segmentors (val images, no points)", MODEL, models, reports)]
    sys.stdout.write("\n".join(out) + "\n")


def _table(
    title: str, columns: Mapping[str, tuple[str, ...]], rows: list[str], reports: list[Any]
) -> list[str]:
    head = [f"| {title} | " + " | ".join(columns) + " |", "| --- " * (len(columns) + 1) + "|"]
    lines = []
    for row in rows:
        cells = [_cell([_at(r[row], path) for r in reports]) for path in columns.values()]
        lines.append(f"| {row} | " + " | ".join(cells) + " |")
    return head + lines


def _at(metrics: Any, path: tuple[str, ...]) -> float:
    for key in path:
        metrics = metrics[key]
    return float(metrics)


def _cell(values: list[float]) -> str:
    mean, spread = sum(values) / len(values), max(values) - min(values)
    form = ".0f" if abs(mean) > 2 else ".3f"
    return f"{mean:{form}} ± {spread / 2:{form}}"


if __name__ == "__main__":
    raise SystemExit(main())
