"""What is written for a tool comes back the same."""

from __future__ import annotations

import json
import tempfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
import torch
from click_sets import SIZE, clicks, pictures, taken, written
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from p2seg.data.coco import Instance, decode, encode
from p2seg.data.points import PointSet
from p2seg.data.records import Category, ImageRecord
from p2seg.errors import UserError
from p2seg.formats.masks import FORMATS as MASKS
from p2seg.formats.masks import Entry, Options
from p2seg.formats.masks.labelstudio import config
from p2seg.formats.points import FORMATS
from p2seg.structures import Points

WRITTEN = [name for name, each in FORMATS.items() if each.write is not None]
PRECISION = {"cvat": 0.0051}
NAMES = ("a.jpg", "my photo #1.jpg", "sub/caf\u00e9 100%20.jpg", "sub/100 .JPG", "z & <\"'>.png")

letters = st.characters(exclude_categories=("Cs", "Cc", "Zs", "Zl", "Zp", "Cn", "Co"))
labels = st.text(letters, min_size=1, max_size=8)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return pictures(tmp_path_factory.mktemp("photos"), *NAMES)


@st.composite
def sets(draw: st.DrawFn) -> PointSet:
    """Clicks on the images, at least one of each class."""
    names = draw(st.lists(labels, min_size=1, max_size=4, unique=True))
    width, height = SIZE
    at = st.tuples(st.floats(0, height - 0.5, width=32), st.floats(0, width - 0.5, width=32))
    groups = [
        # two of one pixel may be one along edges, where they end at 0.99
        draw(st.lists(at, max_size=4, unique_by=lambda p: np.floor(p).tobytes()))
        for _ in NAMES
    ]
    if not any(groups):
        groups[0] = [(1.0, 2.0)]
    count = sum(map(len, groups))
    numbers = st.integers(1, 2**53)
    ids = iter(draw(st.lists(numbers, min_size=count, max_size=count, unique=True)))
    kinds = iter([1 + k % len(names) for k in range(count)])
    points = [
        Points(
            torch.tensor(group, dtype=torch.float32).reshape(-1, 2),
            torch.tensor([next(kinds) for _ in group], dtype=torch.int64),
            torch.tensor([next(ids) for _ in group], dtype=torch.int64),
        )
        for group in groups
    ]
    records = [ImageRecord(k, name, height, width) for k, name in enumerate(NAMES, start=1)]
    categories = [Category(3 * k, name) for k, name in enumerate(names, start=1)]
    return PointSet(records, categories, points)


@pytest.mark.parametrize("name", WRITTEN)
@settings(max_examples=12, suppress_health_check=list(HealthCheck))
@given(points=sets())
def test_points_come_back(name, images, points):
    names = [each.name for each in points.categories]
    used = [n for k, n in enumerate(names, 1) if any(k in p.labels.tolist() for p in points.points)]
    with tempfile.TemporaryDirectory() as folder:
        out = written(name, points, images, Path(folder))
        # where a format lists no classes they are told, as p2seg export_points says
        classes = None if FORMATS[name].classes else used
        back, report = taken(name, out, images, classes=classes)
    assert not report.left_out
    expected = names if classes is None else used
    assert [each.name for each in back.categories] == expected
    before = dict(zip((i.file_name for i in points.images), points.points, strict=True))
    assert {image.file_name for image in back.images} == set(NAMES)
    for image, own in zip(back.images, back.points, strict=True):
        old = before[image.file_name]
        assert own.ids.tolist() == old.ids.tolist()
        classes_before = [names[k - 1] for k in old.labels.tolist()]
        assert [expected[k - 1] for k in own.labels.tolist()] == classes_before
        assert own.pixels.tolist() == old.pixels.tolist()
        pixels, rest = old.pixels.numpy(), old.yx.numpy() % 1
        if FORMATS[name].edges:  # what is nearer to the next pixel's center stays on its own
            rest = rest.clip(None, 0.49)
        assert own.yx.numpy() == pytest.approx(pixels + rest, abs=PRECISION.get(name, 1e-5))


def one(*at: float) -> PointSet:
    (y, x) = at
    points = Points(torch.tensor([[y, x]]), torch.tensor([1]), torch.tensor([7]))
    record = ImageRecord(5, "sub/100 .JPG", SIZE[1], SIZE[0])
    return PointSet([record], [Category(1, "dog")], [points])


@pytest.mark.parametrize("name", WRITTEN)
def test_a_point_behind_the_last_pixels_center_stays_on_the_image(name, images, tmp_path):
    back, _ = taken(name, written(name, one(39.99, 59.99), images, tmp_path), images)
    ((_, x, y),) = clicks(back)["sub/100 .JPG"]
    assert 59.48 <= x < 60
    assert 39.48 <= y < 40


@pytest.mark.parametrize("at", [3.0, 3.2, 3.5, 3.99])
def test_a_click_along_edges_is_on_the_pixel_that_was_clicked(at, images, tmp_path):
    """LabelMe's pixel 3 reaches from 3 to 4; ours is where the whole part of a point is 3."""
    file = written("labelme", one(4, 3), images, tmp_path) / "sub/100 .json"
    content = json.loads(file.read_text())
    content["shapes"][0]["points"] = [[at, at]]
    file.write_text(json.dumps(content))
    back, _ = taken("labelme", tmp_path, images)
    [pixel] = back.points[[each.file_name for each in back.images].index("sub/100 .JPG")].pixels
    assert pixel.tolist() == [3, 3]


def test_the_center_of_a_pixel_is_half_a_pixel_from_its_edge(images, tmp_path):
    labelme = json.loads(
        (written("labelme", one(4, 3), images, tmp_path) / "sub/100 .json").read_text()
    )
    assert labelme["shapes"][0]["points"] == [[3.5, 4.5]]
    assert labelme["imagePath"].endswith("/sub/100 .JPG")
    (task,) = json.loads(written("labelstudio", one(4, 3), images, tmp_path).read_text())
    value = task["annotations"][0]["result"][0]["value"]
    assert (value["x"], value["y"]) == pytest.approx((350 / 60, 450 / 40))
    assert task["data"]["image"] == "/data/local-files/?d=images/sub/100%20.JPG"
    root = ElementTree.parse(written("cvat", one(4, 3), images, tmp_path)).getroot()
    assert root.find("image/points").get("points") == "3.50,4.50"
    (keypoint,) = json.loads(written("coco", one(4, 3), images, tmp_path).read_text())[
        "annotations"
    ]
    assert keypoint["keypoints"] == [3, 4, 2]
    assert written("csv", one(4, 3), images, tmp_path).read_text().splitlines()[1] == (
        "sub/100 .JPG,3.0,4.0,dog,7,60,40"
    )


def test_a_cvat_frame_has_the_number_of_its_place_by_name(images, tmp_path):
    records = [ImageRecord(k, name, 40, 60) for k, name in enumerate(("b.jpg", "B.jpg", "a.jpg"))]
    empty = Points(torch.zeros(0, 2), *torch.zeros(2, 0, dtype=torch.int64))
    points = PointSet(records, [Category(1, "dog")], [empty] * 3)
    root = ElementTree.parse(written("cvat", points, images, tmp_path)).getroot()
    frames = [(each.get("id"), each.get("name")) for each in root.iter("image")]
    assert frames == [("0", "B.jpg"), ("1", "a.jpg"), ("2", "b.jpg")]
    labels = json.loads((tmp_path / "clicks.labels.json").read_text())
    assert [(each["name"], each["type"]) for each in labels] == [("dog", "points")]


def test_one_project_of_label_studio_takes_clicks_and_masks(images, tmp_path):
    written("labelstudio", one(4, 3), images, tmp_path)
    assert (tmp_path / "clicks.config.xml").read_text() == config(["dog"])


def test_label_studios_config_names_every_class(images, tmp_path):
    points = one(4, 3)
    points.categories.append(Category(2, 'a <b> & "c"'))
    written("labelstudio", points, images, tmp_path, url="s3://bucket/")
    root = ElementTree.parse(tmp_path / "clicks.config.xml").getroot()
    names = [each.get("value") for each in root.iter("Label")]
    assert names == ["dog", 'a <b> & "c"'] * 3
    tags = root.find("KeyPointLabels"), root.find("Image")
    assert (tags[0].get("toName"), tags[1].get("value")) == (tags[1].get("name"), "$image")
    (task,) = json.loads((tmp_path / "clicks.json").read_text())
    assert task["data"]["image"] == "s3://bucket/sub/100%20.JPG"
    assert task["annotations"][0]["result"][0]["from_name"] == tags[0].get("name")


@pytest.mark.parametrize("name", ["cvat", "labelstudio"])
def test_a_name_that_no_xml_can_hold_is_told(name, images, tmp_path):
    points = one(4, 3)
    points.categories[0] = Category(1, "d\x07g")
    with pytest.raises(UserError, match=r"'d\\x07g' has a character that XML cannot represent"):
        written(name, points, images, tmp_path)
    assert not list(tmp_path.iterdir())


def mask_sets():
    """Masks with a hole, of two parts, and a block; two classes not in the order of their names."""
    block, holed, split = np.zeros((3, SIZE[1], SIZE[0]), bool)
    block[5:15, 5:25] = holed[20:35, 30:50] = split[2:5, 40:50] = split[30:38, 2:9] = True
    holed[22:30, 35:40] = False
    clicks = [(10.5, 10.5), (33.25, 45.0), (3.75, 44.75)]
    return [
        Instance(id, label, encode(mask), score=0.9, point=yx)
        for id, label, mask, yx in zip(
            (7, 3, 9), (1, 2, 1), (block, holed, split), clicks, strict=True
        )
    ]


@pytest.mark.parametrize("with_clicks", [True, False])
@pytest.mark.parametrize("name", ["labelme", "cvat", "labelstudio", "coco"])
def test_masks_that_are_exported_come_back_as_clicks(name, with_clicks, tmp_path):
    photos = pictures(tmp_path / "photos", "a.jpg")
    categories = [Category(1, "zebra"), Category(2, "ant")]
    record = ImageRecord(1, "a.jpg", SIZE[1], SIZE[0])
    out = tmp_path / "out"
    form = MASKS[name](out, categories, Options(points=with_clicks))
    form.write("a", record, photos / "a.jpg", mask_sets())
    form.finish(lambda: iter([Entry(record, mask_sets())]))
    file = {"cvat": "annotations.xml", "labelstudio": "tasks.json", "coco": "instances.json"}
    own = out / file.get(name, "")
    if name == "labelstudio":  # as people accept predictions
        tasks = json.loads(own.read_text())
        own.write_text(json.dumps([task | {"annotations": task["predictions"]} for task in tasks]))
    classes = ["zebra", "ant"] if name == "labelstudio" else None
    back, _ = taken(name, own, photos, classes=classes)
    assert [each.name for each in back.categories] == ["zebra", "ant"]
    [points] = back.points
    assert points.labels.tolist() == [1, 2, 1]
    for (y, x), instance in zip(points.pixels.tolist(), mask_sets(), strict=True):
        assert decode(instance)[y, x]
        if with_clicks:
            assert (y, x) == tuple(map(int, instance.point))
