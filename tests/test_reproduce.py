"""scripts/reproduce.py: its plans, and one table whole on a miniature of the drawn set."""

from __future__ import annotations

import importlib
import json
import shlex
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from p2seg.cli.main import main
from p2seg.data.coco import (
    Category,
    ImageRecord,
    Instance,
    InstanceSet,
    encode,
    write_instances,
)

SCRIPTS = Path(__file__).resolve().parent.parent / "scripts"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Runs a script: its exit code, what it printed and what it said."""
    monkeypatch.syspath_prepend(str(SCRIPTS))

    def run(name: str, *words: object) -> tuple[int, str, str]:
        code = importlib.import_module(name).main([str(word) for word in words])
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch):
    """The tools are called and not started: starting them takes longer than what they do here."""
    start = subprocess.run

    def run(words: list[str], **options: object) -> object:
        if Path(words[1]).name not in ("pipeline.py", "watershed.py"):
            return start(words, **options)  # type: ignore[call-overload]
        assert words[0] == sys.executable
        name = Path(words[1]).stem
        own = name == "watershed"  # a script of its own
        code = importlib.import_module(name).main(words[2:]) if own else main([name, *words[2:]])
        return subprocess.CompletedProcess(words, code)

    monkeypatch.setattr(subprocess, "run", run)


@pytest.fixture
def reproduce(script):
    return partial(script, "reproduce")


@pytest.fixture
def reproduce_figures(script):
    return partial(script, "reproduce_figures")


@pytest.fixture
def reproduce_real(script):
    return partial(script, "reproduce_real")


@pytest.fixture(scope="module")
def composed():
    """Composes the words of a run, those that differ in nothing but places once."""
    from hydra import compose, initialize_config_dir

    seen = {}
    places = ("name=", "out=", "seed=", "data.", "ckpt=")

    def of(words):
        key = tuple(word for word in words if not word.startswith(places))
        if key not in seen:
            with initialize_config_dir(str(SCRIPTS.parent / "configs"), version_base=None):
                seen[key] = compose("pipeline", words)
        return seen[key]

    return of


@pytest.mark.parametrize("data", ["drawn", "real", "full"])
@pytest.mark.parametrize(
    "table", [*map(str, range(1, 7)), "beta", "rounds", "points", "maps", "select", "segmentor"]
)
def test_every_plan_is_of_settings_that_compose(reproduce, composed, table, data):
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


def test_sam_s_row_is_run_where_its_checkpoint_is_given(reproduce):
    def plan(*more):
        return reproduce(1, "--data", "full", "--dry-run", "--seeds", 0, *more)[1]

    missing = "SAM prompted by the points: not run, it needs semantic.sam.checkpoint=FILE"
    assert missing in plan("semantic.maps=maps")
    given = plan("semantic.maps=maps", "semantic.sam.checkpoint=sam.pth")
    assert missing not in given
    lines = [line for line in given.splitlines() if "pipeline.py" in line]
    [own] = [line for line in lines if "+exp=voc_sam_baseline" in line]
    assert "pipeline.segmentors=[sam]" in own
    assert "semantic.sam.checkpoint=sam.pth" in own
    assert "semantic.maps" not in own
    assert not any("semantic.sam" in line for line in lines if line != own)


def test_a_row_s_segmentor_is_the_one_of_its_masks(tmp_path, reproduce, monkeypatch):
    """SAM's row reads the scores of the segmentor that learned SAM's masks."""

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


def test_tables_share_their_runs(reproduce):
    def runs(table):
        _, plan, _ = reproduce(table, "--dry-run", "--seeds", 0)
        lines = [line for line in plan.splitlines() if "pipeline.py" in line]
        return {line.split("out=")[1].split()[0] for line in lines}

    assert "outputs/drawn_default_seed0" in runs(3) & runs(4) & runs("rounds")
    assert "outputs/drawn_mdm-paper_seed0" in runs(3) & runs("beta") & runs("rounds")
    assert len(runs(3) & runs("rounds")) == 4
    assert runs("points").isdisjoint(runs(3))


def test_figures_are_of_the_third_tables_runs(reproduce_figures):
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
def test_a_table_is_made_once(reproduce, tmp_path):
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


def runs_of(plan: str) -> list[list[str]]:
    """The commands of a plan, as words."""
    scripts = ("pipeline.py", "watershed.py")
    return [shlex.split(line) for line in plan.splitlines() if any(s in line for s in scripts)]


@pytest.mark.parametrize("data", ["nuclei", "coco", "voc"])
def test_the_runs_on_real_images_compose(reproduce_real, composed, data):
    code, plan, _ = reproduce_real(data, "--dry-run", "--seeds", 3, 4, "--segmentors")
    assert code == 0
    runs = runs_of(plan)
    assert len(runs) == 14
    for first, second in zip(runs[::7], runs[1::7], strict=True):
        assert first != second
    assert len({word for words in runs for word in words if word.startswith("out=")}) == 14
    for script, *words in runs:
        cfg = composed(words)
        assert cfg.name.startswith(f"real_{data}")
        assert ("bestie" in cfg.model.network._target_) == ("mdm=bestie" in words)
        assert ("watershed.py" in script) == (cfg.pipeline.segmentors == ["watershed"])


def test_a_segmentor_is_trained_on_the_masks_of_chosen_rows_alone(reproduce_real):
    def segmentors(*words):
        _, plan, _ = reproduce_real("nuclei", "--dry-run", "--seeds", 0, *words)
        return [word for run in runs_of(plan) for word in run if "pipeline.segmentors" in word]

    assert set(segmentors()) == {"pipeline.segmentors=[]"}
    of = "pipeline.segmentors="
    assert segmentors("--segmentors") == [
        f"{of}[control,geodesic,mixture,gt]",
        f"{of}[watershed]",
        f"{of}[control]",
        *[f"{of}[mdm]"] * 3,
        f"{of}[mdm,untrained]",
    ]
    assert segmentors("--segmentors", "--rows", "geodesic", "best") == [
        f"{of}[geodesic]",
        f"{of}[mdm]",
    ]
    _, plan, _ = reproduce_real("nuclei", "--dry-run", "--seeds", 0)
    assert "true masks: not run, needs --segmentors" in plan


def test_settings_of_the_initial_maps_are_not_given_to_a_row_with_maps_of_its_own(reproduce_real):
    words = "--seeds", 0, "--rows", "control", "clusters", "semantic.source.level=0.5"
    control, clusters = runs_of(reproduce_real("nuclei", "--dry-run", *words)[1])
    assert "semantic.source.level=0.5" in control
    assert "semantic.source.level=0.5" not in clusters


def test_the_table_on_real_images(tmp_path, reproduce_real, monkeypatch):
    """Each row's own stage; the share is per seed; no place of this machine in the file."""

    def pretend(words, **_):
        out = next(Path(word[4:]) for word in words if word.startswith("out="))
        seed = int(next(word[5:] for word in words if word.startswith("seed=")))
        sizes = {"small": 0.5, "medium": 0.25, "large": None}
        quality = {"mean_iou": 0.5, "touching_mean_iou": 0.25, "default_boxes": 7, "seed_masks": 3}
        quality |= {"iou50": 100, "iou70": 50, "iou90": 5}
        quality["per_size"] = {name: {"mean_iou": value} for name, value in sizes.items()}
        masks = {"quality": quality, "voc_area": {"mAP50": 0.5}}
        masks["matching"] = {"AJI": 0.25, "PQ": 0.125}
        found = {"voc_area": {"mAP50": 0.2 + 0.2 * seed}}
        report = {
            "semantic": {"miou": 0.75},
            "control": masks,
            "geodesic": masks,
            "mixture": masks,
            "mdm": masks,
        }
        report |= {"segmentor": found, "segmentor_gt": {"voc_area": {"mAP50": 0.4}}}
        report["run"] = {"versions": {"commit": "abc"}}
        out.mkdir(parents=True, exist_ok=True)
        (out / "report.json").write_text(json.dumps(report))
        return subprocess.CompletedProcess(words, 0)

    monkeypatch.setattr(subprocess, "run", pretend)
    words = "--rows", "truth", "best", "control", "--out", tmp_path, f"data.source={tmp_path}"
    code, table, said = reproduce_real("nuclei", "--seeds", 0, 1, "--segmentors", *words)
    assert code == 0, said
    content = json.loads((tmp_path / "table_real_nuclei.json").read_text())
    assert str(tmp_path) not in (tmp_path / "table_real_nuclei.json").read_text()
    assert [row["row"] for row in content["rows"]] == [
        "Eq. 1, no network (control)",
        "P2Seg",
        "true masks",
    ]
    _, best, truth = content["rows"]
    assert "large" not in content["columns"]
    means = {name: cell["mean"] for name, cell in best["ours"].items()}
    assert means == pytest.approx(
        {"initial map mIoU": 75, "mean IoU": 50, "touching": 25, "small": 50, "medium": 25}
        | {"IoU > 0.5": 100, "IoU > 0.7": 50, "IoU > 0.9": 5, "mAP50": 50, "AJI": 25, "PQ": 12.5}
        | {"default boxes": 7, "seed masks": 3, "segmentor AP50": 30, "share of true masks": 75}
    )
    assert best["ours"]["share of true masks"]["half_range"] == pytest.approx(25)
    assert truth["ours"]["share of true masks"]["mean"] == 100
    assert set(truth["ours"]) == {"segmentor AP50", "share of true masks"}
    assert best["command"] == (
        "./scripts/reproduce_real.sh nuclei --rows best truth --segmentors --seeds 0 1 "
        "data.source=DIR"
    )
    assert content["commits"] == ["abc"]
    line = next(line for line in table.splitlines() if line.startswith("| P2Seg |"))
    assert "| 75.0 ± 25.0 |" in line


def disc_set(folder: Path) -> None:
    """Two bright discs that touch and one alone on dark ground, as a set with train and val."""
    y, x = np.mgrid[:64, :64]
    discs = [(20, 18), (20, 36), (48, 40)]
    masks = [(y - cy) ** 2 + (x - cx) ** 2 <= 81 for cy, cx in discs]
    image = np.where(np.any(masks, axis=0), 200, 30).astype(np.uint8)
    image[:, 26:28] = np.minimum(image[:, 26:28], 120)  # where two discs touch
    for split in ("train", "val"):
        (folder / split).mkdir(parents=True)
        Image.fromarray(image).save(folder / split / "a.png")
        truth = InstanceSet(
            images=[ImageRecord(id=1, file_name="a.png", height=64, width=64)],
            categories=[Category(1, "nucleus")],
            instances=[[Instance(k, 1, encode(mask)) for k, mask in enumerate(masks, 1)]],
        )
        write_instances(folder / f"instances_{split}.json", truth)


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize(
    "rows",
    [
        ("watershed", "geodesic"),
        pytest.param(("control", "watershed", "clusters", "geodesic"), marks=pytest.mark.slow),
    ],
    ids=len,
)
def test_labels_without_a_network_on_real_images(reproduce_real, tmp_path, rows):
    disc_set(tmp_path / "in")
    words = "--seeds", 0, "--out", tmp_path / "out", f"data.source={tmp_path / 'in'}"
    code, _, said = reproduce_real("nuclei", "--rows", *rows, *words, "data.workers=0")
    assert code == 0, said
    content = json.loads((tmp_path / "out" / "table_real_nuclei.json").read_text())
    score = {row["row"]: row["ours"]["mean IoU"]["mean"] for row in content["rows"]}
    assert len(score) == len(rows)
    assert all(each > 70 for each in score.values())
    assert len(set(score.values())) == len(rows), "each row has masks of its own"
    assert score.get("geodesic distance, no network", 100) > 99
    made = tmp_path / "out" / "real_nuclei_watershed_pipeline.network-false_seed0/watershed.json"
    masks = json.loads(made.read_text())
    assert masks["info"]["source"] == "watershed"
    assert len(masks["annotations"]) == 3
    before = made.stat().st_mtime_ns
    assert reproduce_real("nuclei", "--rows", "watershed", *words, "data.workers=0")[0] == 0
    assert made.stat().st_mtime_ns == before


@pytest.mark.usefixtures("in_this_process")
def test_mistakes_are_told(reproduce, tmp_path):
    assert "semantic.maps=DIR" in reproduce(1, "--data", "full", "--dry-run")[2]
    for wrong in (["seed=5"], ["out=x"], ["ckpt=x"], ["--seeds", 0, 0], ["--seeds", -1]):
        assert "cannot be" in reproduce(6, "--dry-run", *wrong)[2]
    assert "invalid choice" in reproduce(7)[2]
    code, _, said = reproduce(6, "--seeds", 0, "--out", tmp_path, "data.prepare=[nothing.py]")
    assert code == 2
    assert "call this again" in said
