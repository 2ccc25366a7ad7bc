"""p2seg gallery: inputs, rejected inputs, and resuming."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from gallery_sets import gallery_set
from tool_sets import change, refused, works

import p2seg.apps.gallery
from p2seg.apps.gallery import build
from p2seg.apps.gallery.build import content_of


@pytest.fixture
def made(tmp_path):
    return gallery_set(tmp_path / "set")


@pytest.fixture
def gallery(made, tmp_path, run_tool):
    def run(*more):
        return run_tool("gallery", *made.words, *more, f"out={tmp_path}/out")

    return run


def parts(out: Path):
    return content_of((out / "data" / "part-0000.js").read_text())["images"]


def about(out: Path):
    return content_of((out / "data" / "gallery.js").read_text())


def test_a_gallery_knows_its_masks(gallery, made, tmp_path):
    assert "4 masks in 3 images" in works(gallery(f"gt={made.gt}"))
    first, second, third = parts(tmp_path / "out")
    assert [mask["id"] for mask in first["masks"]] == ["1", "2", "3"]
    assert [mask["touches"] for mask in first["masks"]] == [[1], [0], []]
    assert first["masks"][0]["iou"] == pytest.approx(15 / 16, abs=1e-4)
    assert first["masks"][2]["reasons"]["default box"] == 0.9
    assert "click outside" in second["masks"][0]["reasons"]
    assert second["masks"][0]["reasons"]["holes"] > 0
    assert third["masks"] == []
    told = about(tmp_path / "out")
    assert (told["truth"], told["stages"], told["clicked"]) == ("id", [], True)
    assert "data.semantic=DIR" in told["hint"]
    names = {path.name for path in (tmp_path / "out" / "images" / "000").iterdir()}
    assert names == {
        *("000000.js", "000000.jpg", "000000-small.jpg", "000000-0.jpg"),
        *("000001.js", "000001.jpg", "000001-small.jpg", "000001-0.jpg"),
        *("000002.js", "000002.jpg", "000002-small.jpg"),
    }


def test_stages_follow_the_settings(gallery, made, tmp_path):
    words = [
        "data=custom",
        "data.num_classes=2",
        f"data.semantic={made.semantic}",
        "mdm.split=euclidean",
    ]
    works(gallery(*words))
    told = about(tmp_path / "out")
    assert told["stages"] == ["semantic", "seed"]
    assert "ckpt=FILE" in told["hint"]
    text = (tmp_path / "out" / "images" / "000" / "000000.js").read_text().partition("\n")[2]
    semantic, seed = content_of(text)["stages"]
    assert (semantic["kind"], semantic["of"]) == ("classes", [1, 2, 255])
    assert (seed["kind"], seed["of"]) == ("masks", [0, 1, 2])
    works(gallery(*words, "stages=false"))
    assert about(tmp_path / "out")["stages"] == []


def test_an_interrupted_gallery_resumes_and_updates_changed_images(
    gallery, made, tmp_path, monkeypatch
):
    read = []
    real = build.read_image

    def counted(path, size):
        read.append(path.name)
        if len(read) == 2:
            raise KeyboardInterrupt
        return real(path, size)

    monkeypatch.setattr(build, "THREADS", 2)
    monkeypatch.setattr(build, "read_image", counted)
    assert gallery()[0] == 130
    done = list((tmp_path / "out" / "images" / "000").glob("*.js"))
    assert 1 <= len(done) < 3
    monkeypatch.setattr(build, "read_image", real)
    stamps = {path: path.stat().st_mtime_ns for path in done}
    works(gallery())
    assert {path: path.stat().st_mtime_ns for path in done} == stamps
    change(made.pred, lambda document: document["annotations"][3].update(score=0.7))
    before = (tmp_path / "out" / "images" / "000" / "000000.js").stat().st_mtime_ns
    works(gallery())
    assert parts(tmp_path / "out")[1]["masks"][0]["score"] == 0.7
    assert (tmp_path / "out" / "images" / "000" / "000000.js").stat().st_mtime_ns == before


def test_files_of_removed_images_are_removed(gallery, made, tmp_path):
    works(gallery())

    def cut(document):
        document["images"] = document["images"][:1]
        document["annotations"] = []

    change(made.pred, cut)
    works(gallery())
    names = {path.name for path in (tmp_path / "out" / "images" / "000").iterdir()}
    assert names == {"000000.js", "000000.jpg", "000000-small.jpg"}


def test_predictions_are_numbered_and_have_no_clicks(made, tmp_path, run_tool):
    document = json.loads(made.pred.read_text())
    home = tmp_path / "found"
    home.mkdir()
    listed = {key: document[key] for key in ("images", "categories")} | {"annotations": []}
    (home / "images.json").write_text(json.dumps(listed))
    results = [
        {key: each[key] for key in ("image_id", "category_id", "segmentation", "score")}
        for each in document["annotations"]
    ]
    (home / "predictions.json").write_text(json.dumps(results))
    words = [f"pred={home}/predictions.json", f"images={made.images}", f"out={tmp_path}/out"]
    works(run_tool("gallery", *words, f"gt={made.gt}"))
    told, cards = about(tmp_path / "out"), parts(tmp_path / "out")
    assert (told["clicked"], told["truth"]) == (False, "overlap")
    assert [mask["id"] for card in cards for mask in card["masks"]] == ["1", "2", "3", "4"]
    refused(run_tool("gallery", *words, "ckpt=x.pt"), "segmentor's findings")
    (home / "images.json").unlink()
    refused(run_tool("gallery", *words), "without images.json next to it")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["pred=nowhere.json"], "no masks at nowhere.json"),
        (["images=nowhere"], "no image folder at nowhere"),
        (["gt=nowhere.json"], "no ground-truth file at nowhere.json"),
        (["review=nowhere.json"], "no review at nowhere.json"),
        (["stages=maybe"], "choose auto, true or false"),
        (
            ["stages=true", "data=custom", "data.num_classes=2"],
            "no folder of initial semantic maps",
        ),
        (["stages=false", "ckpt=x.pt"], "no stages with stages=false"),
    ],
)
def test_wrong_settings_are_reported_in_one_sentence(gallery, words, told):
    refused(gallery(*words), told)


def test_files_that_do_not_match_are_rejected(gallery, made, tmp_path):
    broken = made.images / "a.png"
    good = broken.read_bytes()
    broken.write_bytes(good[:100])
    refused(gallery(), "a.png is damaged or truncated")
    out = works(gallery("data.on_error=skip"))
    assert "in 2 images" in out
    assert "skipped: image" in out
    broken.write_bytes(good)
    review = tmp_path / "review.json"
    far = {"id": 1, "image_id": 4, "decision": "reclick", "point": [99, 1]}
    review.write_text(json.dumps({"decisions": [far]}))
    refused(gallery(f"review={review}"), "point (99, 1)", "outside image a.png")
    change(made.gt, lambda document: document["images"][0].update(width=81))
    change(made.gt, lambda document: document["annotations"].clear())
    refused(gallery(f"gt={made.gt}"), "81x60 in gt")
    made.pred.write_text('{"images": [], "annotations": [], "categories": []}')
    refused(gallery(), "has no image")


def test_the_page_is_part_of_the_package(gallery, tmp_path):
    """The page's files are installed next to the package's modules."""
    works(gallery())
    home = Path(p2seg.apps.gallery.__file__).parent / "static"
    for path in home.iterdir():
        assert (tmp_path / "out" / path.name).read_bytes() == path.read_bytes()
    text = (tmp_path / "out" / "index.html").read_text()
    assert "default-src 'none'" in text
    assert "http" not in text.replace("http-equiv", "")
