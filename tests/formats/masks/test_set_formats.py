"""CVAT's, Label Studio's and COCO's files, read back by the rules of those who read them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from defusedxml import ElementTree
from format_sets import CATEGORIES, instance, mask_of, masks, record
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from set_readers import brush, read_cvat, read_label_studio

from p2seg.data.coco import Category, ImageRecord, decode, read_instances
from p2seg.formats.masks import FORMATS, Entry, Options
from p2seg.formats.masks.base import address_of
from p2seg.formats.masks.cvat import run_lengths
from p2seg.formats.masks.labelme import labelme
from p2seg.formats.masks.labelstudio import brush_code

NAMES = [category.name for category in CATEGORIES]
STEP = mask_of("1.... 11... .....")
SPLIT = mask_of("11..1 11..1 .....")
RING = mask_of("111.. 1.1.. 111..")
ODD = ['b/ä "1" & <2>.jpg', "c d#%20.png", "e\u0301.JPG"]


def finished(form, folder, entries, categories=CATEGORIES, **options):
    made = FORMATS[form](folder / form, categories, Options(**options))
    made.finish(lambda: iter(entries))
    return folder / form


def entries_of(found, names=("b/a.jpg",)):
    shape = decode(found[0]).shape
    return [Entry(ImageRecord(k, name, *shape), found) for k, name in enumerate(names)]


def clicked(mask, yx, **more):
    return replace(instance(mask, **more), point=yx)


@settings(max_examples=25, deadline=None)
@given(masks().filter(np.any), st.booleans())
def test_cvat_gives_every_mask_back(tmp_path_factory, mask, polygons):
    found = [instance(mask, 2, 0.75), instance(mask[::-1], 1, 0.5)]
    out = finished("cvat", tmp_path_factory.mktemp("set"), entries_of(found), polygons=polygons)
    [[first, second]] = read_cvat(out / "annotations.xml").values()
    np.testing.assert_array_equal(first[1], mask)
    np.testing.assert_array_equal(second[1], mask[::-1])
    assert [first[0], second[0]] == [NAMES[1], NAMES[0]]
    assert [first[3], second[3]] == [0.75, 0.5]


@settings(max_examples=25, deadline=None)
@given(masks().filter(np.any), st.booleans())
def test_label_studio_gives_every_mask_back(tmp_path_factory, mask, polygons):
    found = [instance(mask, 2, 0.75), instance(mask[::-1], 1, 0.5)]
    folder = tmp_path_factory.mktemp("set")
    out = finished("labelstudio", folder, entries_of(found), polygons=polygons)
    [[first, second]] = read_label_studio(out / "tasks.json").values()
    np.testing.assert_array_equal(first[1], mask)
    np.testing.assert_array_equal(second[1], mask[::-1])
    assert [first[0], second[0]] == [NAMES[1], NAMES[0]]
    assert [first[3], second[3]] == [0.75, 0.5]


def test_brush_codes_of_long_runs():
    mask = np.zeros((300, 301), bool)
    mask[7, 5:9] = mask[9:299] = True  # runs of 16, and of more values than 16 bits count
    np.testing.assert_array_equal(brush(brush_code(mask)), np.repeat(mask.ravel() * 255, 4))
    assert len(brush_code(mask)) < 100


@settings(max_examples=50, deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=40))
def test_run_lengths_begin_with_those_that_are_off(values):
    runs = run_lengths(np.array(values)).tolist()
    again = [place % 2 == 1 for place, run in enumerate(runs) for _ in range(run)]
    assert again == values
    assert all(runs[1:])


@pytest.mark.parametrize("polygons", [False, True])
def test_clicks_go_along_at_the_center_of_their_pixel(tmp_path, polygons):
    found = [clicked(STEP, (1.0, 0.0)), clicked(SPLIT, (0.0, 4.75)), instance(RING)]
    options = {"points": True, "polygons": polygons}
    cvat = finished("cvat", tmp_path, entries_of(found), **options)
    [shown] = read_cvat(cvat / "annotations.xml").values()
    studio = finished("labelstudio", tmp_path, entries_of(found), **options)
    [regions] = read_label_studio(studio / "tasks.json").values()
    for each, mask in zip(shown, (STEP, SPLIT, RING), strict=True):
        np.testing.assert_array_equal(each[1], mask)
    assert [each[2] for each in shown] == [(0.5, 1.5), (4.99, 0.5), None]  # 5.25 is another pixel
    assert regions[0][2] == pytest.approx((0.5, 1.5))
    assert [each[2] is None for each in regions] == [False, False, True]


def test_labelmes_clicks_have_the_group_of_their_mask():
    found = [clicked(STEP, (1.0, 0.0)), instance(RING)]
    shapes = labelme(record(STEP), "a.jpg", found, NAMES, points=True)["shapes"]
    assert [each["shape_type"] for each in shapes] == ["polygon", "point", "mask"]
    assert [each["group_id"] for each in shapes] == [1, 1, None]
    assert shapes[1]["points"] == [[0.5, 1.5]]
    without = labelme(record(STEP), "a.jpg", found, NAMES)["shapes"]
    assert [each["shape_type"] for each in without] == ["polygon", "mask"]


def test_odd_names_are_written_as_they_are(tmp_path):
    found = [instance(STEP)]
    out = finished("cvat", tmp_path, entries_of(found, ODD))
    assert list(read_cvat(out / "annotations.xml")) == ODD
    out = finished("labelstudio", tmp_path, entries_of(found, ODD), prefix="/data/x/?d=p/")
    [first, second, _] = read_label_studio(out / "tasks.json")
    assert first == "/data/x/?d=p/b/%C3%A4%20%221%22%20%26%20%3C2%3E.jpg"
    assert second == "/data/x/?d=p/c%20d%23%2520.png"
    out = finished("coco", tmp_path, entries_of([instance(STEP, id=-1)], ODD))
    assert [each.file_name for each in read_instances(out / "instances.json").images] == ODD


def test_what_xml_cannot_write_ends_no_export(tmp_path):
    classes = [Category(1, "a\0b\x1b</label>")]
    out = finished("cvat", tmp_path, entries_of([instance(STEP)]), classes)
    [[only]] = read_cvat(out / "annotations.xml").values()
    assert only[0] == "a\ufffdb\ufffd</label>"


def test_the_labels_of_cvat_and_label_studio(tmp_path):
    out = finished("cvat", tmp_path, entries_of([instance(STEP)]))
    labels = json.loads((out / "labels.json").read_text())
    root = ElementTree.parse(out / "annotations.xml").getroot()
    assert root.find("version").text == "1.1"
    assert [each.text for each in root.findall("meta/task/labels/label/name")] == NAMES
    assert [each["name"] for each in labels] == NAMES
    assert labels[0]["attributes"][0]["name"] == "score"
    out = finished("labelstudio", tmp_path, entries_of([instance(STEP)]))
    config = ElementTree.parse(out / "config.xml").getroot()
    for control in ("BrushLabels", "PolygonLabels", "KeyPointLabels"):
        assert [each.get("value") for each in config.findall(f"{control}/Label")] == NAMES


def test_coco_keeps_ids_clicks_and_flags(tmp_path):
    found = [replace(clicked(STEP, (1.0, 0.0), id=7), default_box=True), instance(RING, 2, id=0)]
    out = finished("coco", tmp_path, entries_of(found), info={"source": "seed"})
    made = read_instances(out / "instances.json")
    assert (made.info, made.categories) == ({"source": "seed"}, CATEGORIES)
    assert list(made.instances[0]) == found


def test_detections_get_ids_of_their_own(tmp_path):
    found = [instance(STEP, id=-1), instance(RING, id=-1)]
    out = finished("coco", tmp_path, entries_of(found, ["a.jpg", "b.jpg"]))
    ids = [
        [each.id for each in group] for group in read_instances(out / "instances.json").instances
    ]
    assert ids == [[1, 2], [3, 4]]


@pytest.mark.parametrize("form", ["coco", "cvat", "labelstudio"])
def test_an_image_without_instances_is_in_the_set(tmp_path, form):
    out = finished(form, tmp_path, [Entry(ImageRecord(1, "a.jpg", 3, 5), [])])
    text = "".join(path.read_text() for path in out.iterdir())
    assert "a.jpg" in text


@pytest.mark.parametrize("form", ["coco", "cvat", "labelstudio"])
def test_pixels_that_are_no_file_lie_beside_the_set(tmp_path, form):
    pixels = np.arange(45, dtype=np.uint8).reshape(3, 5, 3)
    made = FORMATS[form](tmp_path, CATEGORIES)
    made.write("clip", ImageRecord(1, "clip.mp4/000003.png", 3, 5), pixels, [])
    made.write("a", ImageRecord(2, "a.jpg", 3, 5), Path("a.jpg"), [])
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files == [tmp_path / "images/clip.mp4/000003.png"]
    np.testing.assert_array_equal(np.asarray(Image.open(files[0])), pixels)


def test_the_address_of_a_folder_is_below_the_one_above(tmp_path, monkeypatch):
    (tmp_path / "my photos").mkdir()
    monkeypatch.chdir(tmp_path)
    assert address_of(Path("my photos")) == "/data/local-files/?d=my%20photos/"
    assert address_of(Path("my photos/*.jpg")) == "/data/local-files/?d=my%20photos/"
