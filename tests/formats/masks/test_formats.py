"""LabelMe's, YOLO's and the label maps' files, read back by the rules of those who read them."""

from __future__ import annotations

import base64
import json

import cv2
import numpy as np
import pytest
from format_sets import CATEGORIES, instance, mask_of, masks, raster, record
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from PIL import Image

from p2seg.errors import UserError
from p2seg.formats.masks import FORMATS, places
from p2seg.formats.masks import maps as label_maps
from p2seg.formats.masks.labelme import labelme
from p2seg.formats.masks.yolo import yolo_line
from p2seg.semantic.class_map import ClassMap

NAMES = [category.name for category in CATEGORIES]
STEP = mask_of("1.... 11... .....")
SPLIT = mask_of("11..1 11..1 .....")
RING = mask_of("111.. 1.1.. 111..")


def written(form, folder, names=("b/a.jpg",), found=(), source=None):
    """The folder of a format after some images with the same instances."""
    made = FORMATS[form](folder / "out" / form, CATEGORIES)
    for name, place in places(names).items():
        path = folder / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (5, 3), (name.endswith("png") * 255, 0, 0)).save(path)
        made.write(place, record(STEP, name), path if source is None else source, found)
    return folder / "out" / form


def read_shapes(document):
    """Masks of LabelMe's instances, by its rules: (label, group) is an instance, or a shape."""
    masks = {}
    for number, shape in enumerate(document["shapes"]):
        height, width = document["imageHeight"], document["imageWidth"]
        mask = np.zeros((height, width), bool)
        if shape["shape_type"] == "mask":
            (x0, y0), (x1, y1) = np.array(shape["points"]).astype(int)
            png = np.frombuffer(base64.b64decode(shape["mask"]), np.uint8)
            inside = cv2.imdecode(png, cv2.IMREAD_UNCHANGED).astype(bool)
            assert inside.shape == (y1 - y0 + 1, x1 - x0 + 1)
            mask[y0 : y1 + 1, x0 : x1 + 1] = inside
        else:
            assert (shape["shape_type"], shape["mask"]) == ("polygon", None)
            mask = raster([shape["points"]], height, width)
        group = shape["group_id"]
        key = (shape["label"], ("shape", number) if group is None else group)
        masks[key] = masks.get(key, False) | mask
    return list(masks.values())


@settings(max_examples=60, deadline=None)
@given(masks().filter(np.any), st.integers(1, 2))
def test_labelme_gives_every_mask_back(mask, label):
    found = [instance(mask, label), instance(mask[::-1], label)]
    document = labelme(record(mask), "a.jpg", found, NAMES)
    first, second = read_shapes(document)
    np.testing.assert_array_equal(first, mask)
    np.testing.assert_array_equal(second, mask[::-1])
    assert {shape["label"] for shape in document["shapes"]} == {NAMES[label - 1]}


def test_what_labelme_opens(tmp_path):
    found = [instance(STEP, 2, 0.87654), instance(SPLIT), instance(RING)]
    document = json.loads((written("labelme", tmp_path, found=found) / "b/a.json").read_text())
    assert (tmp_path / "out/labelme/b" / document["imagePath"]).samefile(
        tmp_path / "photos/b/a.jpg"
    )
    assert document["imageData"] is None
    assert (document["imageHeight"], document["imageWidth"]) == (3, 5)
    assert document["version"].startswith("5.")
    step, *split, ring = document["shapes"]
    assert (step["label"], step["group_id"], step["flags"]) == (NAMES[1], None, {})
    assert (step["description"], step["score"]) == ("score 0.8765", 0.8765)
    assert [shape["group_id"] for shape in split] == [2, 2]
    assert [shape["shape_type"] for shape in (step, *split, ring)] == [*["polygon"] * 3, "mask"]


def test_labelme_finds_its_picture_behind_a_link(tmp_path):
    (tmp_path / "far/away/deep").mkdir(parents=True)
    (tmp_path / "out").symlink_to(tmp_path / "far/away/deep")
    file = written("labelme", tmp_path) / "b/a.json"
    path = json.loads(file.read_text())["imagePath"]
    assert (file.parent.resolve() / path).samefile(tmp_path / "photos/b/a.jpg")


def test_yolo_is_ready_to_train_on(tmp_path):
    out = written("yolo", tmp_path, ("b/a.jpg", "c.png"), [instance(STEP, 2), instance(SPLIT)])
    data = OmegaConf.load(out / "data.yaml")
    assert (data.train, data.val) == ("images", "images")
    assert data.names == dict(enumerate(NAMES))
    assert (out / "images/b/a.jpg").samefile(tmp_path / "photos/b/a.jpg")
    assert (out / "labels/c.txt").is_file()
    first, second = (out / "labels/b/a.txt").read_text().splitlines()
    assert first.startswith("1 0.000000 0.000000 ")
    for line, mask in ((first, STEP), (second, SPLIT)):
        points = np.array(line.split()[1:], float).reshape(-1, 2) * (5, 3)
        np.testing.assert_array_equal(raster([points], 3, 5), mask)


def test_yolos_own_rule_finds_the_labels_of_pictures_in_folders_called_images(tmp_path):
    names = ("train/images/a.jpg", "train/images_/a.jpg", "images/images/b.c.jpg", "labels/a.jpg")
    out = written("yolo", tmp_path / "images/set", names, [instance(STEP)])
    pictures = [str(each) for each in (out / "images").rglob("*.jpg")]
    # ultralytics.data.utils.img2label_paths
    rule = ["/labels/".join(each.rsplit("/images/", 1)).rsplit(".", 1)[0] for each in pictures]
    written_to = [str(each) for each in (out / "labels").rglob("*.txt")]
    assert len(pictures) == len(names)
    assert sorted(f"{each}.txt" for each in rule) == sorted(written_to)


def test_yolo_fills_holes():
    [index, *numbers] = yolo_line(instance(RING), record(RING)).split()
    full = mask_of("111.. 111.. 111..")
    points = np.array(numbers, float).reshape(-1, 2) * (5, 3)
    assert index == "0"
    np.testing.assert_array_equal(raster([points], 3, 5), full)


def test_yolos_links_are_made_anew_and_harm_no_picture(tmp_path):
    written("yolo", tmp_path)
    before = (tmp_path / "photos/b/a.jpg").read_bytes()
    out = written("yolo", tmp_path)
    assert (tmp_path / "photos/b/a.jpg").read_bytes() == before
    assert [path.name for path in (out / "images/b").iterdir()] == ["a.jpg"]


def test_label_maps_tell_instances_and_classes(tmp_path):
    found = [instance(STEP, 2, 0.9), instance(RING, 1, 0.8), instance(STEP, 1, 0.7)]
    out = written("png", tmp_path, found=found)
    numbers = np.asarray(Image.open(out / "instances/b/a.png"))
    classes = np.asarray(Image.open(out / "classes/b/a.png"))
    assert (numbers.dtype, classes.dtype) == (np.uint16, np.uint8)
    np.testing.assert_array_equal(numbers, np.where(STEP, 1, np.where(RING, 2, 0)))
    listed = json.loads((out / "instances/b/a.json").read_text())
    assert [(each["value"], each["class"], each["category_id"]) for each in listed] == [
        (1, NAMES[1], 20),
        (2, "red", 10),
        (3, "red", 10),
    ]
    names = json.loads((out / "classes.json").read_text())
    assert names == {"0": "background", "1": "red", "2": NAMES[1]}
    assert ClassMap.read(str(out / "classes.json")).legend(NAMES)
    label_of = {value: label for label, value in names.items()}
    for each in listed[:2]:
        assert (classes[numbers == each["value"]] == int(label_of[each["class"]])).all()
    assert not classes[numbers == 0].any()


def test_label_maps_hold_what_16_bits_hold(tmp_path, monkeypatch):
    monkeypatch.setattr(label_maps, "LARGEST", 2)
    with pytest.raises(UserError, match=r"b/a\.jpg has 3 instances, but"):
        written("png", tmp_path, found=[instance(STEP)] * 3)


@pytest.mark.parametrize(
    ("form", "files"),
    [
        ("labelme", {"labels.txt", "b/a.json"}),
        ("yolo", {"data.yaml", "labels/b/a.txt", "images/b/a.jpg"}),
        ("png", {"classes.json", *(f"{k}/b/a.png" for k in ("classes", "instances"))}),
    ],
)
def test_an_image_without_instances_has_its_files(tmp_path, form, files):
    out = written(form, tmp_path)
    made = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    assert made - {"instances/b/a.json"} == files


@pytest.mark.parametrize(("form", "name"), [("labelme", "a.png"), ("yolo", "images/b/a.png")])
def test_pixels_that_are_no_file_are_written_beside(tmp_path, form, name):
    pixels = np.arange(45, dtype=np.uint8).reshape(3, 5, 3)
    out = written(form, tmp_path, source=pixels)
    picture = out / ("b" if form == "labelme" else ".") / name
    np.testing.assert_array_equal(np.asarray(Image.open(picture)), pixels)
    if form == "labelme":
        assert json.loads((out / "b/a.json").read_text())["imagePath"] == name


@pytest.mark.parametrize("form", sorted(name for name in FORMATS if not FORMATS[name].whole))
def test_a_jpg_and_a_png_side_by_side_have_files_of_their_own(tmp_path, form):
    names = ("b/a.jpg", "b/a.png", "a.jpg")
    out = written(form, tmp_path, names, [instance(STEP)])
    ending = "*.txt" if form == "yolo" else "*.json" if form == "labelme" else "classes/**/*.png"
    assert len(list(out.rglob(ending))) == 3
    if form == "yolo":  # its rule from a picture to its labels
        for picture in (path for path in (out / "images").rglob("*") if path.is_file()):
            own = picture.relative_to(out / "images").with_suffix(".txt")
            assert (out / "labels" / own).is_file()


@settings(max_examples=200, deadline=None)
@given(st.sets(st.text("aA.", min_size=1).map(lambda stem: f"b/{stem}x.jpg") | st.sampled_from(
    ["a.jpg", "a.png", "a.jpg.png", "a.jpg.jpg", "A.bmp", "a.b", "a.b.c", "b/a.jpg"]
)))  # fmt: skip
def test_places_never_meet(names):
    found = places(names)
    others = {name.casefold() for name in names}
    if len(others) == len(names):  # or the files themselves met
        assert len({place.casefold() for place in found.values()}) == len(names)
    for name, place in found.items():
        assert name == place or name.startswith(f"{place}.")


def test_a_lone_image_keeps_its_name_without_ending():
    assert places(["b/a.jpg", "c.d.png"]) == {"b/a.jpg": "b/a", "c.d.png": "c.d"}
