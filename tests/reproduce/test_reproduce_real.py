"""scripts/reproduce_real.py: its plans and its table."""

from __future__ import annotations

import json
import shlex
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from p2seg.data.coco import (
    Category,
    ImageRecord,
    Instance,
    InstanceSet,
    encode,
    write_instances,
)


def runs_of(plan: str) -> list[list[str]]:
    """Returns the commands of a plan as lists of arguments."""
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
        assert f"+exp=real_{data}" in words
        assert ("bestie" in cfg.model.network._target_) == ("mdm=bestie" in words)
        assert ("watershed.py" in script) == (cfg.pipeline.segmentors == ["watershed"])


def test_segmentors_are_trained_only_on_the_masks_of_selected_rows(reproduce_real):
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


def test_settings_of_initial_maps_do_not_reach_a_row_with_its_own_maps(reproduce_real):
    words = "--seeds", 0, "--rows", "control", "clusters", "semantic.source.level=0.5"
    control, clusters = runs_of(reproduce_real("nuclei", "--dry-run", *words)[1])
    assert "semantic.source.level=0.5" in control
    assert "semantic.source.level=0.5" not in clusters


def test_the_table_on_real_images(tmp_path, reproduce_real, monkeypatch):
    """Scores come from the row's stage, the share is per seed, and no local path is in the file."""

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
    """Writes a set with train and val: two touching bright discs and a third one, on black."""
    y, x = np.mgrid[:64, :64]
    discs = [(20, 18), (20, 36), (48, 40)]
    masks = [(y - cy) ** 2 + (x - cx) ** 2 <= 81 for cy, cx in discs]
    image = np.where(np.any(masks, axis=0), 200, 30).astype(np.uint8)
    image[:, 26:28] = np.minimum(image[:, 26:28], 120)  # a darker line where two discs touch
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
