"""COCO files as other tools write them: readers agree and say what they did."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from p2seg.data.coco import read_instances
from p2seg.data.points import make_points
from p2seg.errors import UserError
from p2seg.evaluation.readers import read_ground_truth
from p2seg.formats.points import FORMATS, Images, Reading, Rules, gather

DISC = (np.mgrid[:40, :60][1] - 36) ** 2 + (np.mgrid[:40, :60][0] - 20) ** 2 <= 100
FLAT = DISC.T.ravel()
CUTS = np.flatnonzero(np.diff(FLAT)) + 1
RUNS = np.diff([0, *CUTS, FLAT.size]).tolist()
OUTLINE = [26, 20, 29, 13, 36, 10, 43, 13, 46, 20, 43, 27, 36, 30, 29, 27]
PAIRS = [[x, y] for x, y in zip(OUTLINE[::2], OUTLINE[1::2], strict=True)]
FIRST = {"id": 1, "segmentation": [[2, 2, 14, 2, 14, 14, 2, 14]], "bbox": [2, 2, 12, 12]}
BOX = [26, 10, 20, 20]


def document(*annotations: dict[str, Any]) -> dict[str, Any]:
    return {
        "images": [{"id": 1, "file_name": "a.png", "height": 40, "width": 60}],
        "categories": [{"id": 1, "name": "apple"}],
        "annotations": [
            {"id": 2 + k, "image_id": 1, "category_id": 1, "iscrowd": 0, **each}
            for k, each in enumerate(annotations)
        ],
    }


def written(folder: Path, content: Any) -> Path:
    (folder / "photos/sub").mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (60, 40)).save(folder / "photos/a.png")
    path = folder / "coco.json"
    path.write_text(json.dumps(content))
    return path


def both(path: Path, **reading: Any) -> tuple[list[Any], list[Any], Any]:
    """The clicks of import_points and of make_points, and what the import noted."""
    found = FORMATS["coco"].read(path, Reading(**reading))
    rules = Rules(edges=False, classes=reading.get("classes"))
    imported, _ = gather(found, Images(path.parent / "photos"), rules)
    read = read_instances(path)
    made = make_points(read, "inner", 0)
    assert imported.categories == made.categories
    assert {k: n for k, n in found.notes.items() if n} == read.notes
    return *([each.yx.tolist() for each in points.points] for points in (imported, made)), found


USABLE: dict[str, Any] = {
    "an RLE in a list": [{"size": [40, 60], "counts": RUNS}],
    "counts as floats": {"size": [40.0, 60.0], "counts": list(map(float, RUNS))},
    "counts as text": {"size": [40, 60], "counts": list(map(str, RUNS))},
    "one flat list": OUTLINE,
    "a flat list of text": list(map(str, OUTLINE)),
    "text": [list(map(str, OUTLINE))],
    "pairs": [PAIRS],
    "pairs without a list around": PAIRS,
    "a bad part beside a good one": [OUTLINE, [5.0, 5.0]],
    "a part that is far away": [OUTLINE, [1e7, 0, 1e7, 1, 1e7, 2]],
    "rows of 0 and 1": DISC.astype(int).tolist(),
    "rows of 0 and 255": (DISC * 255).tolist(),
    "rows of true and false": DISC.tolist(),
    "rows in a list": [DISC.astype(int).tolist()],
}
UNUSABLE: dict[str, Any] = {
    "no part": [],
    "an empty part": [[]],
    "two points": [[30, 12, 40, 22]],
    "a box": [[26, 10, 20, 20]],
    "null": None,
    "an empty object": {},
    "sides exchanged": {"size": [60, 40], "counts": RUNS},
    "rows of another size": DISC[:, ::2].astype(int).tolist(),
    "rows of many values": np.arange(2400).reshape(40, 60).tolist(),
    "text that is no number": [["a", "b", "c", "d", "e", "f"]],
    "a number": 5,
}


@pytest.mark.parametrize("name", USABLE)
def test_a_mask_in_an_unusual_form_is_read(tmp_path, name, capsys):
    path = written(tmp_path, document(FIRST, {"segmentation": USABLE[name]}))
    imported, made, found = both(path)
    assert imported == made
    assert np.abs(np.array(made[0][1]) - (20, 36)).max() <= 1.5
    assert sum(found.notes.values()) == 1
    assert "(1x)" in capsys.readouterr().out


@pytest.mark.parametrize("name", UNUSABLE)
def test_the_box_stands_in_for_a_mask_that_cannot_be_used(tmp_path, name, capsys):
    odd = {"segmentation": UNUSABLE[name], "bbox": BOX}
    imported, made, found = both(written(tmp_path, document(FIRST, odd)))
    assert np.abs(np.array([imported[0][1], made[0][1]]) - (19.5, 35.5)).max() <= 0.5
    assert sum(found.notes.values()) == 1
    assert "box" in capsys.readouterr().out


@pytest.mark.parametrize("name", sorted(set(UNUSABLE) - {"no part"}))
def test_without_a_box_such_a_mask_is_refused(tmp_path, name):
    odd = {"segmentation": UNUSABLE[name]}
    with pytest.raises(UserError, match="annotation 3"):
        read_instances(written(tmp_path, document(FIRST, odd)))


def test_polygons_on_few_values_stay_polygons(tmp_path):
    parts = [[2, 2, 14, 2, 14, 14, 2, 14], [2, 14, 14, 14, 14, 2, 2, 2]]
    imported, made, found = both(written(tmp_path, document({"segmentation": parts})))
    assert imported == made
    assert not sum(found.notes.values())


@pytest.mark.parametrize(("one", "other"), [("1", "2"), (1.0, 2.0), ("1.0", "2")])
def test_ids_as_text_or_floats_are_read(tmp_path, one, other):
    content = document(FIRST, {"segmentation": [OUTLINE]})
    for each in content["annotations"]:
        each["image_id"] = each["category_id"] = one
    content["annotations"][0]["id"] = other
    content["images"][0]["height"] = "40"
    imported, made, found = both(written(tmp_path, content))
    assert imported == made
    assert sum(found.notes.values()) == 5


def test_a_null_class_is_the_only_one_asked_for(tmp_path):
    path = written(tmp_path, document(FIRST, {"segmentation": [OUTLINE], "category_id": None}))
    found = FORMATS["coco"].read(path, Reading(classes=["apple"]))
    assert [mark.label for mark in found.pictures[0].marks] == ["apple", "apple"]
    [sentence] = FORMATS["coco"].read(path, Reading()).problems
    assert "classes=" in sentence
    assert str(path) in sentence


RLE = {"size": [40, 60], "counts": RUNS}


def test_masks_that_cvat_marks_as_crowds_are_objects(tmp_path):
    brush = {"segmentation": RLE, "iscrowd": 1, "attributes": {"occluded": False}}
    imported, made, found = both(written(tmp_path, document(FIRST, brush)))
    assert imported == made
    assert len(made[0]) == 2
    assert sum(found.notes.values()) == 1


def test_real_crowds_are_left_out_with_a_hint(tmp_path):
    path = written(tmp_path, document(FIRST, {"segmentation": RLE, "iscrowd": 1}))
    imported, made, found = both(path)
    assert imported == made
    assert len(made[0]) == 1
    [(kind, count)] = found.left_out.items()
    assert (count, "iscrowd" in kind) == (1, True)
    assert make_points(read_instances(path), "inner", 0).info["left_out"] == {kind: 1}


def test_a_file_of_crowds_alone_is_one_of_objects(tmp_path):
    items = [{**FIRST, "iscrowd": 1}, {"segmentation": RLE, "iscrowd": 1}]
    imported, made, found = both(written(tmp_path, document(*items)))
    assert imported == made
    assert len(made[0]) == 2
    assert list(found.notes.values()) == [2]


ROOTS = {
    "a root": {"id": 0, "name": "fruits", "supercategory": "none"},
    "a root of the class's name": {"id": 0, "name": "apple", "supercategory": "none"},
    "a background": {"id": 0, "name": "_background_"},
}


@pytest.mark.parametrize("name", ROOTS)
def test_empty_roots_and_backgrounds_are_no_classes(tmp_path, name):
    content = document(FIRST)
    content["categories"] = [ROOTS[name], {"id": 1, "name": "apple", "supercategory": "fruits"}]
    if name.endswith("name"):
        content["categories"][1]["supercategory"] = "apple"
    path = written(tmp_path, content)
    assert [each.name for each in read_instances(path).categories] == ["apple"]
    _, _, found = both(path)
    assert sum(found.notes.values()) == 1


def test_other_empty_categories_are_classes(tmp_path):
    content = document(FIRST)
    content["categories"] = [
        {"id": 1, "name": "apple", "supercategory": "fruit"},
        {"id": 2, "name": "person", "supercategory": "person"},
        {"id": 3, "name": "pear", "supercategory": "fruit"},
    ]
    path = written(tmp_path, content)
    assert len(read_instances(path).categories) == 3
    both(path)


def test_a_root_with_annotations_of_a_class_name_twice_is_refused_by_both(tmp_path):
    content = document(FIRST, {"segmentation": [OUTLINE]})
    content["categories"].append({"id": 5, "name": "apple"})
    content["annotations"][1]["category_id"] = 5
    path = written(tmp_path, content)
    for read in (read_instances, lambda path: FORMATS["coco"].read(path, Reading())):
        with pytest.raises(UserError, match="same name"):
            read(path)


NAMES = ["/fruit/a.png", "C:\\data\\a.png", "..\\up\\a.png", "../a.png", "sub\\..\\a.png"]


@pytest.mark.parametrize("name", NAMES)
def test_images_are_found_by_paths_of_other_machines(tmp_path, name, run_tool):
    content = document(FIRST)
    content["images"][0]["file_name"] = name
    path = written(tmp_path, content)
    photos, out = tmp_path / "photos", tmp_path / "points.json"
    found = FORMATS["coco"].read(path, Reading())
    points, _ = gather(found, Images(photos), Rules(edges=False))
    assert points.images[0].file_name == "a.png"
    with pytest.raises(UserError, match="images=DIR"):
        read_instances(path)
    assert run_tool("make_points", f"gt={path}", f"images={photos}", f"out={out}")[0] == 0
    assert json.loads(out.read_text())["images"][0]["file_name"] == "a.png"
    [image] = read_ground_truth(path, "").images
    assert ".." not in image.file_name
    assert image.file_name.endswith("a.png")
