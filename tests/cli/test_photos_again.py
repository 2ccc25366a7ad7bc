"""Later runs of the plain commands: more clicks, other clicks, other settings."""

from __future__ import annotations

import json
import shutil

import numpy as np
from photo_sets import PHOTOS
from photo_sets import masks as masks
from photo_sets import p2seg as p2seg
from photo_sets import start as start

from p2seg.apps.annotate.clicks import Clicks
from p2seg.data.coco import Category, read_instances
from p2seg.data.points import read_points
from p2seg.data.rle import encode
from p2seg.segmentors.load import Instance as Detection


def test_accepted_proposals_are_points_with_a_source(masks, p2seg, tmp_path):
    assert p2seg("train", masks, "--epochs", "0.5")[0] == 0
    photos = tmp_path / PHOTOS
    shutil.copy(photos / "0.png", photos / "new.png")
    before, clicked = (photos / "points.json").read_bytes(), read_points(photos / "points.json")
    code, text = p2seg("propose", f"{PHOTOS}_model", PHOTOS, "--conf", "0.0")
    assert code == 0, text
    assert (photos / "points.json").read_bytes() == before, "proposals are no clicks"
    proposals = read_points(photos / "points.proposed.json")
    assert [each.file_name for each in proposals.images] == ["new.png"]
    [ids] = [own.ids.tolist() for own in proposals.points]
    assert len(ids) == len(set(ids)) > 0
    assert min(ids) > max(id for own in clicked.points for id in own.ids.tolist())

    page = Clicks(photos / "points.json")
    size = proposals.images[0].height, proposals.images[0].width
    first, *others = page.pending("new.png")
    page.accept("new.png", size, others)
    page.accept("new.png", size, [first._replace(x=0, y=0)])
    page.write(page.snapshot())
    code, text = p2seg("masks", PHOTOS, "--network", "no")
    assert code == 0, text
    places = {(each.x, each.y) for each in others}  # one point per pixel
    assert f"30 clicked, {len(places)} proposed, 1 corrected" in text
    assert p2seg("propose", f"{PHOTOS}_model", PHOTOS)[0] == 0
    assert not read_points(photos / "points.proposed.json").images, "all photographs have points"


def test_one_object_is_proposed_once(masks, p2seg, tmp_path, monkeypatch):
    def mask(left, right):
        own = np.zeros((64, 96), bool)
        own[10:30, left:right] = True
        return encode(own)

    class Model:
        categories = (Category(1, "cell"),)

        def __call__(self, _image, score):
            found = ((0.9, (10, 40)), (0.8, (12, 44)), (0.7, (41, 70)), (0.1, (75, 90)))
            return [
                Detection("cell", 1, own, (0, 0, 1, 1), mask(*place))
                for own, place in found
                if own >= score
            ]

    monkeypatch.setattr("p2seg.cli.photos.propose.load", lambda _: Model())
    (tmp_path / "model.pt").write_bytes(b"")
    shutil.copy(tmp_path / PHOTOS / "0.png", tmp_path / PHOTOS / "new.png")
    code, text = p2seg("propose", "model.pt", PHOTOS)
    assert code == 0, text
    [points] = read_points(tmp_path / PHOTOS / "points.proposed.json").points
    assert len(points) == 2
    (_, first), (_, second) = points.yx.tolist()
    assert 10 <= first < 40 < second < 70


def test_unreadable_photographs_are_skipped_by_a_setting(masks, p2seg, tmp_path):
    photo = tmp_path / PHOTOS / "2.png"
    photo.write_bytes(photo.read_bytes()[:-300])
    code, text = p2seg("masks", PHOTOS, "--network", "no")
    assert code == 2
    assert "2.png" in text
    assert "data.on_error=skip" in text
    shutil.rmtree(tmp_path / masks)
    code, text = p2seg("masks", PHOTOS, "--network", "no", "data.on_error=skip")
    assert code == 0, text
    assert len(read_instances(tmp_path / masks / "masks.json").images) == 5


def test_clicks_of_another_file_are_replaced_only_when_asked(masks, p2seg, tmp_path):
    lines = (tmp_path / "clicks.csv").read_text().splitlines()
    (tmp_path / "clicks.csv").write_text("\n".join(lines[:-2]) + "\n")
    assert p2seg("import", "clicks.csv", "--images", PHOTOS)[0] == 0, "the same file, edited"
    (tmp_path / "other.csv").write_text("\n".join(lines[:3]) + "\n")
    code, text = p2seg("import", "other.csv", "--images", PHOTOS)
    assert code == 2
    assert "28 points of clicks.csv" in text
    assert "--overwrite" in text
    assert p2seg("import", "other.csv", "--images", PHOTOS, "--overwrite")[0] == 0
    assert sum(map(len, read_points(tmp_path / PHOTOS / "points.json").points)) == 2


def test_decisions_about_removed_clicks_are_ignored(masks, p2seg, tmp_path):
    file = tmp_path / PHOTOS / "points.json"
    first, second = read_points(file).points[0].ids.tolist()[:2]
    decisions = [{"id": id, "image_id": 1, "decision": "reject"} for id in (first, second)]
    (tmp_path / masks / "review.json").write_text(json.dumps({"decisions": decisions}))
    page = Clicks(file)
    page.remove("0.png", first)
    page.write(page.snapshot())
    code, text = p2seg("masks", PHOTOS)
    assert code == 0, text
    assert "removed points are ignored (1)" in text
    [pseudo, *_] = read_instances(tmp_path / masks / "masks.json").instances
    assert {each.id: each.review for each in pseudo}[second] == "rejected"
    assert first not in {each.id for each in pseudo}


def test_a_network_of_other_clicks_is_trained_again(masks, p2seg, tmp_path):
    words = ("masks", PHOTOS, "--network", "yes", "trainer.max_steps=1")
    code, text = p2seg(*words)
    assert code == 0, text
    code, text = p2seg(*words)
    assert (code, "new network" in text) == (0, False), text
    page = Clicks(tmp_path / PHOTOS / "points.json")
    page.remove("0.png", page.clicks("0.png")[0].id)
    page.write(page.snapshot())
    code, text = p2seg(*words)
    assert (code, "new network" in text) == (0, True), text
    assert len(read_instances(tmp_path / masks / "masks.json").instances[0]) == 4


def test_a_model_is_trained_again_when_asked(masks, p2seg, tmp_path):
    assert p2seg("train", masks, "--epochs", "0.5")[0] == 0
    code, text = p2seg("train", masks, "--epochs", "1")
    assert code == 2
    assert "segmentor.schedule.epochs" in text or "--epochs" in text
    code, text = p2seg("train", masks, "--epochs", "1", "--overwrite")
    assert code == 0, text


def test_outputs_are_next_to_the_folder_of_masks(masks, p2seg, tmp_path):
    words = ("--method", "clusters", "--network", "no", "--out", "others_masks")
    assert p2seg("masks", PHOTOS, *words)[0] == 0
    assert p2seg("export", "others_masks", "--format", "coco")[0] == 0
    assert p2seg("export", masks, "--format", "coco")[0] == 0
    for name in ("others", PHOTOS):
        assert (tmp_path / f"{name}_coco" / "coco").is_dir()
