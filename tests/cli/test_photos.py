"""The plain commands: one's own photographs from clicks to a trained model."""

from __future__ import annotations

import csv
import json
import re

import pytest
from fastapi.testclient import TestClient
from photo_sets import PHOTOS
from photo_sets import masks as masks
from photo_sets import p2seg as p2seg
from photo_sets import start as start
from PIL import Image

from p2seg.apps.gallery.server import application
from p2seg.cli.photos.options import COMMANDS, table
from p2seg.cli.photos.run import is_plain
from p2seg.data.coco import read_instances


def test_masks_says_what_it_decides_and_fills_one_folder(masks, p2seg, tmp_path):
    folder = tmp_path / masks
    pseudo = read_instances(folder / "masks.json")
    assert [len(own) for own in pseudo.instances] == [5] * 6
    summary = json.loads((folder / "summary.json").read_text())
    assert (summary["source"], summary["network"], summary["masks"]) == ("threshold", False, 30)
    assert summary["roundness"] > 0.9
    assert (folder / "page" / "index.html").is_file()
    with Image.open(folder / "contact_sheet.png") as sheet:
        assert sheet.width > 300
    counts = [*csv.reader((folder / "counts.csv").read_text().splitlines())]
    assert counts[0] == ["image", "cell", "all"]
    assert counts[-1] == ["all", "30", "30"]
    first = [*csv.DictReader((folder / "check_first.csv").read_text().splitlines())]
    suspicion = [float(row["suspicion"]) for row in first]
    assert suspicion == sorted(suspicion, reverse=True)
    assert {row["mask"] for row in first} == {str(e.id) for own in pseudo.instances for e in own}
    code, text = p2seg("masks", PHOTOS)
    assert code == 0
    assert "--network yes" in text, "it says how to force a network"


def test_a_review_is_applied_by_the_next_masks(masks, p2seg, tmp_path):
    folder = tmp_path / masks
    rejected = read_instances(folder / "masks.json").instances[0][0].id
    client = TestClient(application(folder / "page", folder / "review.json"))
    assert client.get("/index.html").status_code == 200
    decision = {"id": rejected, "image_id": 1, "decision": "reject"}
    review = json.dumps({"info": {}, "decisions": [decision]})
    assert client.put("/review.json", content=review).status_code == 204
    before = (folder / "review.json").read_bytes()
    assert client.put("/review.json", content=b"{").status_code == 422
    assert (folder / "review.json").read_bytes() == before
    code, text = p2seg("masks", PHOTOS)
    assert code == 0, text
    assert json.loads((folder / "summary.json").read_text())["review_applied"]
    own = {each.id: each for each in read_instances(folder / "masks.json").instances[0]}
    assert own[rejected].review == "rejected"
    assert (folder / "counts.csv").read_text().endswith("all,29,29\n")
    assert json.loads((folder / "summary.json").read_text())["masks"] == 29
    assert f",{rejected}," not in (folder / "check_first.csv").read_text()
    assert "29 masks" in text


def test_export_has_a_set_for_validation(masks, p2seg, tmp_path):
    code, text = p2seg("export", masks, "--format", "yolo", "--val", "0.3")
    assert code == 0, text
    folder = tmp_path / f"{PHOTOS}_yolo" / "yolo"
    sets = [(folder / f"{name}.txt").read_text().splitlines() for name in ("train", "val")]
    assert [len(each) for each in sets] == [4, 2]
    assert all((folder / name).is_file() for each in sets for name in each)
    assert "train: train.txt\nval: val.txt\n" in (folder / "data.yaml").read_text()
    assert p2seg("export", masks, "--format", "coco", "--val", "0.3")[0] == 0
    coco = tmp_path / f"{PHOTOS}_coco" / "coco"
    names = [
        {each.file_name for each in read_instances(coco / f"instances_{name}.json").images}
        for name in ("train", "val")
    ]
    assert [len(each) for each in names] == [4, 2]
    assert not names[0] & names[1]


def test_a_trained_model_finds_objects_in_photographs_without_clicks(masks, p2seg, tmp_path):
    code, text = p2seg("train", masks, "--epochs", "0.5")
    assert code == 0, text
    code, text = p2seg("predict", f"{PHOTOS}_model", f"{PHOTOS}/0.png", "--conf", "0.01")
    assert code == 0, text
    assert (tmp_path / f"{PHOTOS}_0_predictions" / "predictions.json").is_file()


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["masks", "nowhere"], ["nowhere"]),
        (["masks", PHOTOS], ["points.json", "p2seg annotate", "p2seg import"]),
        (["masks", PHOTOS, "--method", "magic"], ["magic", "threshold"]),
        (["export", PHOTOS, "--format", "yolo"], [PHOTOS, "p2seg masks"]),
        (["export", PHOTOS, "--format", "png", "--val", "0.2"], ["p2seg masks"]),
        (["predict", "nowhere", PHOTOS], ["nowhere", "p2seg train"]),
        (["predict", PHOTOS], ["SOURCE"]),
        (["review", "nowhere"], ["nowhere"]),
        (["import", "nothing.csv", "--images", PHOTOS], ["nothing.csv"]),
        (["propose", "nowhere", PHOTOS], ["nowhere", "p2seg train"]),
        (["experiment", "nothing"], ["nothing", "train"]),
    ],
)
def test_mistakes_are_one_sentence(p2seg, words, parts):
    code, text = p2seg(*words)
    assert code == 2
    assert "Traceback" not in text
    assert text.count("\n") == 1
    for part in parts:
        assert part in text


def test_masks_lists_all_that_is_wrong_with_a_set_before_it_makes_a_map(p2seg, tmp_path):
    assert p2seg("import", "clicks.csv", "--images", PHOTOS)[0] == 0
    (tmp_path / PHOTOS / "1.png").unlink()
    (tmp_path / PHOTOS / "3.png").write_text("no image")
    code, text = p2seg("masks", PHOTOS)
    assert code == 2
    assert "1.png" in text
    assert "3.png" in text
    assert not (tmp_path / f"{PHOTOS}_masks" / "maps").exists()


def test_photographs_that_moved_are_named(masks, p2seg, tmp_path):
    (tmp_path / PHOTOS).rename(tmp_path / "moved")
    code, text = p2seg("export", masks, "--format", "coco")
    assert code == 2
    assert PHOTOS in text


def test_settings_and_plain_options_are_told_apart(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a=b_masks").mkdir()
    assert is_plain("train", ["a=b_masks"])
    assert is_plain("train", ["photos_masks", "--model", "small"])
    assert is_plain("train", ["photos_masks", "segmentor.schedule.lr=0.01"])
    assert is_plain("predict", [])
    for words in (["+exp=drawn"], ["gt=x.json"], ["-m", "seed=0,1"], ["--cfg", "job"], ["~model"]):
        assert not is_plain("train", words)
    assert not is_plain("gen_pseudo", ["x"])


def test_messages_name_options_and_take_settings(masks, p2seg, tmp_path):
    words = ("export", masks, "--format", "coco", "--out", "x")
    assert p2seg(*words, "export.edges=2")[0] == 0
    assert p2seg(*words)[0] == 0, "its own files, unedited"
    (tmp_path / "x" / "coco" / "notes.txt").write_text("of the user")
    code, text = p2seg(*words)
    assert code == 2
    assert "--overwrite" in text
    assert "--out" in text
    assert "=" not in text.replace(PHOTOS, "")
    assert p2seg(*words, "overwrite=true")[0] == 0
    code, text = p2seg("review", masks, "port=0")
    assert code == 2
    assert "takes no settings" in text
    code, text = p2seg("export", masks, "--format", "coco", "nothing=1")
    assert code == 2
    assert "nothing" in text


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_every_option_with_a_line(p2seg, name):
    code, text = p2seg(name, "--help")
    assert code == 0
    for option in COMMANDS[name].options:
        assert re.search(rf"^  {option.name}\b", text, re.MULTILINE | re.IGNORECASE)


def test_the_table_of_the_documentation_is_that_of_the_commands():
    from pathlib import Path

    page = Path(__file__).parents[2] / "docs" / "reference" / "commands.md"
    assert table() in page.read_text()
