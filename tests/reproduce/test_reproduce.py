"""scripts/reproduce.py: its plans, and one whole table on a miniature of the drawn set."""

from __future__ import annotations

import json
import shlex
import subprocess
from functools import partial
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parent.parent / "scripts"


@pytest.mark.parametrize("data", ["drawn", "real", "full"])
@pytest.mark.parametrize(
    "table", [*map(str, range(1, 7)), "beta", "rounds", "points", "maps", "select", "segmentor"]
)
def test_the_settings_of_every_plan_compose(reproduce, composed, table, data):
    more = ["semantic.maps=maps", "semantic.sam.checkpoint=sam.pth"] if data == "full" else []
    code, plan, _ = reproduce(table, "--data", data, "--dry-run", "--seeds", 3, 4, *more)
    assert code == 0
    commands = [shlex.split(line)[1:] for line in plan.splitlines() if "pipeline.py" in line]
    assert commands
    assert f"{len(commands)} runs, about" in plan
    names = [word for words in commands for word in words if word.startswith("name=")]
    assert len(set(names)) == len(names), "no two runs in one folder"
    trained = {f"ckpt=outputs/{name[5:]}/network/last.pt" for name in names}
    for words in commands:
        if "seed=4" in words:
            continue  # composes as the other seed does
        cfg = composed(words)
        bestie = "mdm=bestie" in words
        assert ("bestie" in cfg.model.network._target_) == bestie
        assert "seed=3" in words
        assert {word for word in words if word.startswith("ckpt=")} <= trained
        if data == "full":
            assert cfg.semantic.get("maps", "maps") == "maps"
            assert cfg.semantic.get("sam", {}).get("checkpoint", "sam.pth") == "sam.pth"
            seed = next(word[5:] for word in words if word.startswith("seed="))
            [folder] = [word for word in words if word.startswith("data.semantic=")]
            assert f"seed{seed}" in folder, "other clicks, other maps"


def test_the_row_of_sam_runs_if_its_checkpoint_is_given(reproduce):
    def plan(*more):
        return reproduce(1, "--data", "full", "--dry-run", "--seeds", 0, *more)[1]

    missing = "SAM prompted by the points: not run"
    assert missing in plan("semantic.maps=maps")
    given = plan("semantic.maps=maps", "semantic.sam.checkpoint=sam.pth")
    assert missing not in given
    lines = [line for line in given.splitlines() if "pipeline.py" in line]
    [own] = [line for line in lines if "+exp=voc_sam_baseline" in line]
    assert "pipeline.segmentors=[sam]" in own
    assert "semantic.sam.checkpoint=sam.pth" in own
    assert "semantic.maps" not in own
    assert not any("semantic.sam" in line for line in lines if line != own)


def test_a_row_reads_the_scores_of_its_own_segmentor(tmp_path, reproduce, monkeypatch):
    """The row of SAM reads the scores of the segmentor trained on SAM's masks."""

    def pretend(words, **_):
        out = next(Path(word[4:]) for word in words if word.startswith("out="))
        scores = {"voc_area": dict.fromkeys(("mAP25", "mAP50", "mAP70", "mAP75"), 0.5)}
        alone = {"voc_area": dict.fromkeys(scores["voc_area"], 0.25)}
        out.mkdir(parents=True)
        report = {"segmentor": scores, "segmentor_sam": alone}
        report["run"] = {"versions": {"commit": "abc"}}
        (out / "report.json").write_text(json.dumps(report))
        return subprocess.CompletedProcess(words, 0)

    monkeypatch.setattr(subprocess, "run", pretend)
    words = ("semantic.maps=maps", "semantic.sam.checkpoint=sam.pth", "--out", tmp_path)
    code, table, _ = reproduce(1, "--data", "full", "--seeds", 0, *words)
    assert code == 0
    assert "| SAM prompted by the points | 59.4 | 25.0 ± 0.0 | 39.9 | 25.0 ± 0.0 |" in table
    assert "| P2Seg, HRNet-48 | 65.8 | 50.0 ± 0.0 |" in table


def test_tables_share_runs(reproduce):
    def runs(table):
        _, plan, _ = reproduce(table, "--dry-run", "--seeds", 0)
        lines = [line for line in plan.splitlines() if "pipeline.py" in line]
        return {line.split("out=")[1].split()[0] for line in lines}

    assert "outputs/drawn_default_seed0" in runs(3) & runs(4) & runs("rounds")
    assert "outputs/drawn_mdm-paper_seed0" in runs(3) & runs("beta") & runs("rounds")
    assert len(runs(3) & runs("rounds")) == 4
    assert runs("points").isdisjoint(runs(3))


def test_figures_use_the_runs_of_table_3(script):
    reproduce_figures = partial(script, "reproduce_figures")
    code, plan, _ = reproduce_figures("--dry-run", "--out", "x", "trainer.max_steps=3")
    assert code == 0
    runs, drawn = (
        [shlex.split(line) for line in plan.splitlines() if tool in line]
        for tool in ("pipeline.py", "visualize.py")
    )
    assert len(runs) == 3
    assert all("trainer.max_steps=3" in words for words in runs)
    folders = [word[4:] for words in runs for word in words if word.startswith("out=")]
    masks, learned = drawn
    assert f"masks=[{folders[0]}/mdm.json,{folders[2]}/mdm.json]" in masks
    assert f"runs=[{folders[1]}/network,{folders[2]}/network]" in learned
    assert "out=x/figure8_drawn.png" in learned
    assert "unrecognized arguments: 3" in reproduce_figures(3, "--dry-run")[2]
    assert "_seed4" in reproduce_figures("--seed", 4, "--dry-run")[1]


@pytest.mark.slow
@pytest.mark.usefixtures("in_this_process")
def test_a_finished_table_is_not_computed_again(reproduce, tmp_path):
    drawing = '[prepare_synthetic,--out,"${data.root}",--train,"10",--val,"2",--size,"96"]'
    words = 6, "--seeds", 0, "--out", tmp_path, f"data.prepare={drawing}", "data.workers=0"
    code, table, said = reproduce(*words)
    assert code == 0, said
    content = json.loads((tmp_path / "table_6_drawn.json").read_text())
    assert table.endswith((tmp_path / "table_6_drawn.md").read_text())
    semantic, points, geodesic = content["rows"]
    assert geodesic["row"] == "points first, geodesic distance"
    assert semantic["paper"]["IoU > .5"] == 5782
    assert semantic["ours"]["mean IoU"]["mean"] < points["ours"]["mean IoU"]["mean"]
    assert 1 <= points["ours"]["IoU > .5"]["mean"] <= 200  # a count, not a share
    command = f"./scripts/reproduce_table6.sh --data drawn --seeds 0 'data.prepare={drawing}'"
    assert semantic["command"].startswith(command)
    assert "paper" in table
    made = (tmp_path / "drawn_mdm.split-euclidean_seed0" / "seed.json").stat().st_mtime_ns
    assert reproduce(*words)[0] == 0
    again = (tmp_path / "drawn_mdm.split-euclidean_seed0" / "seed.json").stat().st_mtime_ns
    assert again == made


@pytest.mark.usefixtures("in_this_process")
def test_wrong_arguments_are_reported(reproduce, tmp_path):
    assert "semantic.maps=DIR" in reproduce(1, "--data", "full", "--dry-run")[2]
    for wrong in (["seed=5"], ["out=x"], ["ckpt=x"], ["--seeds", 0, 0], ["--seeds", -1]):
        code, _, stderr = reproduce(6, "--dry-run", *wrong)
        assert code == 2
        assert wrong[0] in stderr
    assert "invalid choice" in reproduce(7)[2]
    code, _, said = reproduce(6, "--seeds", 0, "--out", tmp_path, "data.prepare=[nothing.py]")
    assert code == 2
    assert "seed 0" in said
