"""The numbers of README and of the headline pages are those of results/*.json."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "results"
PAGES = [
    ROOT / "README.md",
    ROOT / "docs" / "index.md",
    ROOT / "docs" / "explanation" / "results.md",
]
MARK = re.compile(r"<!-- (results/\S+\.json) -->\n((?:\|.*\n)+)")
ROWS = {
    "ellipses, no network": "mixture of Gaussians, no network",
    "untrained network": "untrained network of P2Seg",
    "P2Seg": "P2Seg",
}
"""What a page calls a row, if its name differs from that in the file."""
SHARES = {"mean IoU", "touching", "small", "medium", "mAP50", "AJI", "PQ", "initial map mIoU"}
"""Columns that the files have in percent and the pages from 0 to 1."""
SCORE = r"\b\d\.\d{3}\b"
CELL = re.compile(r"([\d.,]+) ± ([\d.]+)")


def tables(page: Path) -> list[tuple[str, list[list[str]]]]:
    """The tables of a page that name their file, as rows of cells."""
    found = []
    for name, lines in MARK.findall(page.read_text("utf-8")):
        rows = [
            [each.strip() for each in line.strip(" |\n").split("|")] for line in lines.splitlines()
        ]
        found.append((name, [rows[0], *rows[2:]]))
    return found


def plain(label: str) -> str:
    label = re.sub(r"\(`[^`]*`\)|\*", "", label).strip()
    return ROWS.get(label, label)


@pytest.mark.parametrize("page", [page for page in PAGES if "results/" in page.read_text("utf-8")])
def test_tables_that_name_a_file_have_its_numbers(page):
    checked = 0
    for name, (head, *rows) in tables(page):
        known = {row["row"]: row["ours"] for row in json.loads((ROOT / name).read_text())["rows"]}
        for label, *cells in rows:
            for column, cell in zip(head[1:], cells, strict=True):
                value = known[plain(label)][column]
                scale, unit = (100, 0.001) if column in SHARES else (1, 1)
                mean, spread = (
                    float(each.replace(",", "")) for each in CELL.fullmatch(cell).groups()
                )
                for shown, exact in ((mean, value["mean"]), (spread, value["half_range"])):
                    assert abs(shown - exact / scale) <= unit / 2 + 1e-9, (label, column, cell)
                    checked += 1
    assert checked


def test_readme_has_no_other_scores():
    """A number of three decimals is a score: in README it stands in a table that names its file."""
    text = MARK.sub("", PAGES[0].read_text("utf-8"))
    assert re.findall(SCORE, text) == []


@pytest.mark.parametrize("page", PAGES[1:], ids=lambda each: each.name)
def test_scores_in_sentences_are_in_a_file_or_in_the_log(page):
    """Scores outside of tables that name their file are those of results/ or of the log."""
    log = (ROOT / "docs" / "developers" / "experiments.md").read_text("utf-8")
    known = set(re.findall(SCORE, log))
    for file in RESULTS.glob("*.json"):
        for row in json.loads(file.read_text())["rows"]:
            for cell in row["ours"].values():
                known |= {f"{cell['mean'] / 100:.3f}", f"{cell['half_range'] / 100:.3f}"}
    assert [each for each in re.findall(SCORE, page.read_text("utf-8")) if each not in known] == []
