"""The tutorial's notebook runs from its first cell to its last."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOK = ROOT / "docs" / "tutorials" / "notebook.ipynb"


def test_it_is_kept_with_its_outputs_and_without_errors():
    """`python devtools/run_notebook.py` runs it and saves the outputs."""
    outputs = [
        each
        for cell in json.loads(NOTEBOOK.read_text("utf-8"))["cells"]
        for each in cell.get("outputs", ())
    ]
    kinds = {each["output_type"] for each in outputs}
    assert kinds == {"stream", "display_data"}
    text = json.dumps(outputs)
    assert "\\u001b" not in text  # colors of a terminal
    assert "/tmp" not in text


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of Jupyter's own libraries
def test_it_runs(tmp_path, monkeypatch):
    from devtools.run_notebook import executed

    monkeypatch.setenv("P2SEG_NOTEBOOK", "")  # restored after the test
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")

    notebook = executed(tmp_path)
    printed = "".join(
        each.get("text", "") for cell in notebook.cells for each in cell.get("outputs", [])
    )
    assert "masks, " in " ".join(printed.split())  # gen_pseudo's last line, which may be wrapped
    masks = json.loads((tmp_path / "masks.json").read_text("utf-8"))
    points = json.loads((tmp_path / "points.json").read_text("utf-8"))
    assert len(masks["annotations"]) == len(points["annotations"]) > 20
    assert (tmp_path / "validate" / "validate.html").is_file()
    assert (tmp_path / "gallery" / "index.html").is_file()
    assert len(list((tmp_path / "exported" / "labelme").rglob("*.json"))) == 12
