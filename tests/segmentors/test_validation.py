"""p2seg train_segmentor scores validation images while it trains."""

from __future__ import annotations

import json

import pytest
from segmentor_sets import SCENES, write_set
from test_segmentor_tools import train_words
from tool_sets import change, refused, works

from p2seg.engine.checkpoint import load_checkpoint, save_checkpoint


@pytest.fixture
def words(tmp_path):
    """Of a training with ground truth of other images."""
    write_set(tmp_path / "train", *SCENES)
    write_set(tmp_path / "val", *SCENES)
    paths = (f"data.val_gt={tmp_path}/val/pseudo.json", f"data.val_images={tmp_path}/val/images")
    one = ("segmentor.schedule.epochs=2", "segmentor.validate.every=1")
    return train_words(tmp_path / "train", tmp_path / "out", *paths, *one)


def test_scores_are_said_and_the_best_is_kept(words, tmp_path, run_tool):
    said = works(run_tool("train_segmentor", *words))
    assert said.count("validation: mAP50") == 2
    assert load_checkpoint(tmp_path / "out" / "best.pt", "segmentor")["step"] in (1, 2)
    noted = json.loads((tmp_path / "out" / "validated.json").read_text())
    assert noted.keys() == {"step", "best"}


def test_without_ground_truth_there_is_none(words, tmp_path, run_tool):
    (tmp_path / "val" / "pseudo.json").unlink()
    said = works(run_tool("train_segmentor", *words))
    assert f"no validation: there is no ground truth at {tmp_path}/val/pseudo.json" in said
    assert not (tmp_path / "out" / "best.pt").exists()


def test_it_is_no_setting_of_a_run_and_other_images_are_another_score(words, tmp_path, run_tool):
    out = tmp_path / "out"
    works(run_tool("train_segmentor", *words))
    first = load_checkpoint(out / "last.pt", "segmentor")
    more = [*words, "segmentor.schedule.epochs=2", "segmentor.validate.images=1"]
    said = works(run_tool("train_segmentor", *more))  # goes on, and has nothing left to do
    assert "nothing left to do" in said
    # as if it had been stopped before its last step
    save_checkpoint(out / "last.pt", {**first, "step": first["step"] - 1, "best": 2.0})
    works(run_tool("train_segmentor", *words))
    assert load_checkpoint(out / "last.pt", "segmentor")["best"] == 2.0
    save_checkpoint(out / "last.pt", {**first, "step": first["step"] - 1, "best": 2.0})
    works(run_tool("train_segmentor", *more))
    assert load_checkpoint(out / "last.pt", "segmentor")["best"] < 2.0


@pytest.mark.parametrize("setting", ["segmentor.validate.every=null", "data.val_gt=null"])
def test_or_where_it_is_not_wanted(words, tmp_path, run_tool, setting):
    assert "validation" not in works(run_tool("train_segmentor", *words, setting))


def test_mistakes_are_told_before_the_training(words, tmp_path, run_tool):
    def rename(document):
        document["categories"][0]["name"] = "green"

    (tmp_path / "val" / "images" / "2.png").write_bytes(b"no image")
    refused(run_tool("train_segmentor", *words), "2.png")
    change(tmp_path / "val" / "pseudo.json", rename)
    refused(run_tool("train_segmentor", *words), "other categories", "green", "data.val_gt=FILE")
    refused(run_tool("train_segmentor", *words, "segmentor.validate.every=0"), "validate.every=0")
    found = (path.name for path in (tmp_path / "out").rglob("*"))
    # what need not be looked at again, and what knows whose files these are
    assert set(found) <= {"readable.json", "readable_val.json", "run.json"}
    assert json.loads((tmp_path / "train" / "pseudo.json").read_text())["images"]
