"""scripts/reproduce.py: its plans, and one table whole on a miniature of the embedded set."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parent.parent / "scripts"


@pytest.fixture
def reproduce(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Runs the script: its exit code, what it printed and what it said."""
    monkeypatch.syspath_prepend(str(SCRIPTS))

    def run(*words: object) -> tuple[int, str, str]:
        code = importlib.import_module("reproduce").main([str(word) for word in words])
        return code, *capsys.readouterr()

    return run


@pytest.mark.parametrize("data", ["demo", "real", "full"])
@pytest.mark.parametrize("table", range(1, 7))
def test_every_plan_is_of_settings_that_compose(reproduce, table, data, monkeypatch):
    more = ["semantic.maps=maps"] if data == "full" else []
    code, plan, _ = reproduce(table, "--data", data, "--dry-run", "--seeds", 3, 4, *more)
    assert code == 0
    commands = [line.split()[1:] for line in plan.splitlines() if "pipeline.py" in line]
    assert commands
    assert f"{len(commands)} runs, about" in plan
    names = [word for words in commands for word in words if word.startswith("name=")]
    assert len(set(names)) == len(names)
    monkeypatch.syspath_prepend(str(SCRIPTS.parent / "tools"))
    from hydra import compose, initialize_config_dir

    with initialize_config_dir(str(SCRIPTS.parent / "configs"), version_base=None):
        for words in commands[::2]:
            cfg = compose("pipeline", [word.strip("'") for word in words])
            assert cfg.seed in (3, 4)
            bestie = "mdm=bestie" in words
            assert ("bestie" in cfg.model.network._target_) == bestie


def test_a_table_is_made_once(reproduce, tmp_path):
    drawing = '[prepare_synthetic.py,--out,"${data.root}",--train,"10",--val,"2",--size,"96"]'
    words = 6, "--seeds", 0, "--out", tmp_path, f"data.prepare={drawing}", "data.workers=0"
    code, table, said = reproduce(*words)
    assert code == 0, said
    content = json.loads((tmp_path / "table6_demo.json").read_text())
    assert (tmp_path / "table6_demo.md").read_text() == table
    semantic, points, along = content["rows"]
    assert along["row"] == "points first, ways along the image"
    assert semantic["paper"]["IoU > .5"] == 5782
    assert semantic["ours"]["mean IoU"]["mean"] < points["ours"]["mean IoU"]["mean"]
    assert 1 <= points["ours"]["IoU > .5"]["mean"] <= 200  # a count, not a share
    assert len(content["commands"]) == 3
    made = (tmp_path / "table6_demo_points_first_seed0" / "seed.json").stat().st_mtime_ns
    assert reproduce(*words)[0] == 0
    again = (tmp_path / "table6_demo_points_first_seed0" / "seed.json").stat().st_mtime_ns
    assert again == made


def test_mistakes_are_told(reproduce, tmp_path):
    assert "semantic.maps=DIR" in reproduce(1, "--data", "full", "--dry-run")[2]
    assert "invalid choice" in reproduce(7)[2]
    code, _, said = reproduce(6, "--seeds", 0, "--out", tmp_path, "data.prepare=[nothing.py]")
    assert code == 2
    assert "call this again" in said
