"""devtools/results_page.py, and the committed page and tables."""

from __future__ import annotations

import json
from pathlib import Path

from devtools import results_page

ROOT = Path(__file__).resolve().parents[2]


def test_the_committed_page_matches_the_committed_tables():
    made = results_page.page_of(ROOT / "results")
    assert results_page.PAGE.read_text("utf-8") == made, (
        "run python devtools/results_page.py and commit docs/explanation/tables.md"
    )


def test_committed_tables_have_no_local_path():
    for file in (ROOT / "results").glob("*.json"):
        for word in ("/home/", "/root/", "/work/", "/tmp/", "/Users/"):
            assert word not in file.read_text("utf-8"), file.name


def table(title: str) -> dict[str, object]:
    cell = {"mean": 66.83, "half_range": 0.25}
    rows = [
        {"row": "control", "ours": {"mean IoU": cell}, "command": "./a.sh --rows control"},
        {"row": "best", "ours": {"mean IoU": cell, "AJI": cell}, "command": "./a.sh --rows best"},
        {"row": "absent", "ours": {}, "missing": "needs more", "command": "./a.sh --rows absent"},
    ]
    rows = [{"paper": {}, "missing": "", **row} for row in rows]
    kept = {"data": "nuclei", "seeds": [0, 1], "note": "Percent.", "commits": ["abc"]}
    return {"title": title, "columns": ["mean IoU", "AJI"], "rows": rows, **kept}


def test_each_row_has_its_command_seeds_and_spread_and_real_images_come_first(tmp_path):
    for name, title in (("table_3_demo", "Drawn"), ("table_real_nuclei", "Nuclei")):
        (tmp_path / f"{name}.json").write_text(json.dumps(table(title)))
    words = ["--results", str(tmp_path), "--out", str(tmp_path / "page.md")]
    assert results_page.main(words) == 0
    page = (tmp_path / "page.md").read_text("utf-8")
    assert results_page.main(words) == 0
    assert (tmp_path / "page.md").read_text("utf-8") == page
    assert page.index("## Nuclei") < page.index("## Drawn")
    section = page[page.index("## Nuclei") : page.index("## Drawn")]
    assert section == (
        "## Nuclei\n\n"
        "Data: `nuclei`. Seeds: 0, 1. Commit: abc. File: `table_real_nuclei.json`.\n\n"
        "| row | mean IoU | AJI |\n"
        "| --- | --- | --- |\n"
        "| control | 66.8 ± 0.2 |  |\n"
        "| best | 66.8 ± 0.2 | 66.8 ± 0.2 |\n"
        "| absent |  |  |\n\n"
        "Percent.\nabsent: needs more\n\n"
        "```bash\n"
        "# control\n./a.sh --rows control\n"
        "# best\n./a.sh --rows best\n"
        "```\n\n"
    )


def test_a_file_that_is_not_a_table_is_named(tmp_path, capsys):
    (tmp_path / "table_x.json").write_text("[]")
    code = results_page.main(["--results", str(tmp_path), "--out", str(tmp_path / "page.md")])
    assert code == 2
    assert "table_x.json is not a table" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "page.md").exists()
