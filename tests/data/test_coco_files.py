"""Instances files: what is read, what is refused with which sentence, what comes back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO

from p2seg.data.coco import (
    Category,
    ImageRecord,
    Instance,
    InstanceSet,
    decode,
    encode,
    read_instances,
    write_instances,
)
from p2seg.errors import UserError

TRIANGLE = [[2, 1, 9, 1, 9, 6]]


def document() -> dict[str, Any]:
    """Two images, two categories listed backwards, three annotations of every kind of mask."""
    return {
        "images": [
            {"id": 7, "file_name": "a.jpg", "width": 12, "height": 8},
            {"id": 3, "file_name": "deep/b.jpg", "width": 5, "height": 4},
        ],
        "annotations": [
            {"id": 30, "image_id": 3, "category_id": 18, "segmentation": {"size": [4, 5],
             "counts": [3, 5, 12]}, "iscrowd": 1},
            {"id": 10, "image_id": 7, "category_id": 2, "segmentation": TRIANGLE},
            {"id": 20, "image_id": 7, "category_id": 18, "segmentation": [], "score": 0.25,
             "point": [11.5, 0], "default_box": True},
        ],
        "categories": [{"id": 18, "name": "dog"}, {"id": 2, "name": "bicycle"}],
    }  # fmt: skip


def write(folder: Path, content: Any) -> Path:
    path = folder / "instances.json"
    path.write_text(json.dumps(content))
    return path


def test_a_file_is_read(tmp_path: Path) -> None:
    read = read_instances(write(tmp_path, document()))
    assert read.images == [ImageRecord(7, "a.jpg", 8, 12), ImageRecord(3, "deep/b.jpg", 4, 5)]
    assert read.categories == [Category(2, "bicycle"), Category(18, "dog")]
    assert [[i.id for i in group] for group in read.instances] == [[10, 20], [30]]
    triangle, empty = read.instances[0]
    crowd = read.instances[1][0]
    assert (triangle.label, triangle.crowd, triangle.score, triangle.point) == (1, False, 1, None)
    assert 10 < decode(triangle).sum() < 30
    assert (empty.label, empty.score, empty.point, empty.default_box) == (2, 0.25, (0, 11.5), True)
    assert decode(empty).shape == (8, 12)
    assert not decode(empty).any()
    assert crowd.crowd
    assert decode(crowd).sum() == 5
    assert decode(crowd)[3, 0]
    assert not decode(crowd)[0, 0]


def test_what_is_written_comes_back_and_is_coco(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    masks = [rng.random((9, 13)) < p for p in (0, 0.3, 1)]
    instances = [
        Instance(4, 1, encode(masks[0]), score=0.5, point=(8.75, 12.125), from_seed=True),
        Instance(9, 2, encode(masks[1]), crowd=True),
        Instance(2, 2, encode(masks[2])),
    ]
    whole = InstanceSet(
        images=[ImageRecord(5, "x.png", 9, 13), ImageRecord(1, "ä b.png", 2, 2)],
        categories=[Category(3, "eins"), Category(8, "zwei")],
        instances=[instances, []],
        info={"seed": 3, "of": [1, 2]},
    )
    write_instances(tmp_path / "out" / "x.json", whole)
    assert read_instances(tmp_path / "out" / "x.json") == whole
    coco = COCO(str(tmp_path / "out" / "x.json"))
    for instance, mask in zip(instances, masks, strict=True):
        annotation = coco.anns[instance.id]
        np.testing.assert_array_equal(coco.annToMask(annotation), mask)
        assert annotation["area"] == mask.sum()
        assert annotation["category_id"] == {1: 3, 2: 8}[instance.label]
        assert annotation["iscrowd"] == int(instance.crowd)
        assert len(annotation["bbox"]) == 4
    assert coco.anns[4]["point"] == [12.125, 8.75]
    assert "default_box" not in coco.anns[9]


def broken(change: str) -> Any:
    """The document after a python statement on it."""
    content = document()
    names = {"d": content, "i": content["images"][0], "c": content["categories"][0],
             "a": content["annotations"][1], "p": content["annotations"][2]}  # fmt: skip
    exec(change, names)
    return content


BROKEN = {
    "d.pop('images')": "has no 'images'",
    "d['annotations'] = {}": "'annotations' is an object",
    "d['images'][1] = 4": r"images\[1\] is a number",
    "d['info'] = 'x'": "info is a string",
    "i['id'] = '7a'": r"images\[0\] has id '7a'",
    "i['id'] = True": r"images\[0\] has id True",
    "i['id'] = -1": r"images\[0\] has id -1",
    "i['id'] = 2**63": "has id 9223372036854775808",
    "i.pop('id')": r"images\[0\] has no id",
    "i['id'] = 3": "two images have id 3",
    "i['file_name'] = 'deep/./b.jpg'": "images 7 and 3 are the same file",
    "i['file_name'] = None": "image 7 has file_name None",
    "i['file_name'] = ''": "image 7 has file_name ''",
    "i['file_name'] = '/etc/a.jpg'": "leaves the image folder",
    "i['file_name'] = '../a.jpg'": "leaves the image folder",
    "i['file_name'] = 'b/../../a.jpg'": "leaves the image folder",
    "i['file_name'] = 'b/..'": "leaves the image folder",
    "i['file_name'] = 'a\\0.jpg'": "not a valid file name",
    "i['file_name'] = '\\ud800'": "not a valid file name",
    "i['width'] = 0": r"image 7 \(a.jpg\) has width 0",
    "i['height'] = -8": "and height -8",
    "i['height'] = 8.5": "and height 8.5",
    "i.pop('height')": "and height None",
    "i['width'] = 10**9": "pixels; cut it",
    "c['id'] = 2": "two categories have id 2",
    "c['id'] = None": r"categories\[0\] has no id",
    "c['name'] = 5": "category 18 has name 5",
    "a['id'] = 20": "two annotations have id 20",
    "a['id'] = 1.5": r"annotations\[1\] has id 1.5",
    "a['image_id'] = 99": "annotation 10 has image_id 99, which is not in images",
    "a['category_id'] = 1": "annotation 10 has category_id 1, which is not in categories",
    "a['category_id'] = '-2'": "annotation 10 has category_id '-2'",
    "a.pop('segmentation')": "annotation 10 has no segmentation",
    "a['segmentation'] = [[1, 1, 2, 2]]": "annotation 10 of image a.jpg has a polygon with 2",
    "a['iscrowd'] = 2": "annotation 10 has iscrowd 2",
    "a['iscrowd'] = 'no'": "annotation 10 has iscrowd 'no'",
    "p['score'] = float('nan')": "annotation 20 has score nan",
    "p['score'] = 1.5": "annotation 20 has score 1.5",
    "p['default_box'] = []": r"default_box \[\]",
    "p['point'] = [12, 0]": r"point \(12, 0\) of annotation 20 lies outside image a.jpg of 12x8",
}


@pytest.mark.parametrize("change", BROKEN)
def test_a_broken_file_is_refused_in_one_sentence(tmp_path: Path, change: str) -> None:
    path = write(tmp_path, broken(change))
    with pytest.raises(UserError, match=BROKEN[change]) as caught:
        read_instances(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_what_is_no_document_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "pseudo.json"
    with pytest.raises(UserError, match="no pseudo masks at"):
        read_instances(path, "pseudo masks")
    path.write_bytes(b"\xff\xfe{")
    with pytest.raises(UserError, match="not a readable instances file"):
        read_instances(path)
    path.write_text("[1, 2]")
    with pytest.raises(UserError, match="it is a list, not a JSON object with images"):
        read_instances(path)


def test_an_empty_set_is_a_set(tmp_path: Path) -> None:
    read = read_instances(write(tmp_path, {"images": [], "annotations": [], "categories": []}))
    assert read == InstanceSet([], [], [], {})


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=6,
)
# half of the time what belongs there, so that the junk lies deep
images = st.fixed_dictionaries(
    {"id": st.just(1) | values, "file_name": st.just("a.jpg") | values,
     "width": st.just(5) | values, "height": st.just(4) | values}
)  # fmt: skip
segmentations = (
    st.lists(st.lists(st.integers() | st.floats(), max_size=9), max_size=2)
    | st.fixed_dictionaries({"size": st.just([4, 5]), "counts": st.lists(st.integers())})
    | st.fixed_dictionaries({"size": st.just([4, 5]), "counts": st.text(max_size=5)})
    | values
)
annotations = st.fixed_dictionaries(
    {"id": st.integers(0, 3) | values, "image_id": st.just(1) | values,
     "category_id": st.just(2) | values, "segmentation": segmentations},
    optional={"score": values, "iscrowd": values, "point": values},
)  # fmt: skip
junk = values | st.fixed_dictionaries(
    {
        "images": st.lists(images, max_size=2) | values,
        "annotations": st.lists(annotations, max_size=3) | values,
        "categories": st.just([{"id": 2, "name": "dog"}]) | values,
    }
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(junk)
def test_junk_is_refused_or_valid(tmp_path: Path, content: Any) -> None:
    path = write(tmp_path, content)
    try:
        read = read_instances(path)
    except UserError:
        return
    for image, group in zip(read.images, read.instances, strict=True):
        for instance in group:
            assert decode(instance).shape == (image.height, image.width)
    write_instances(path, read)
    assert read_instances(path) == read


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.binary(max_size=40))
def test_bytes_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "junk.json"
    path.write_bytes(content)
    with pytest.raises(UserError):
        read_instances(path)


@pytest.mark.realdata
@pytest.mark.parametrize("split", ["train2017", "val2017"])
def test_real_coco_equals_pycocotools(realdata: Path, split: str) -> None:
    path = realdata / "coco" / "annotations" / f"instances_{split}.json"
    read, coco = read_instances(path), COCO(str(path))
    assert [image.id for image in read.images] == coco.getImgIds()
    assert [category.id for category in read.categories] == sorted(coco.getCatIds())
    found = [instance for group in read.instances for instance in group]
    assert sorted(instance.id for instance in found) == sorted(coco.getAnnIds())
    assert sum(i.crowd for i in found) == len(coco.getAnnIds(iscrowd=True)) > 0
    for instance in found:
        annotation = coco.anns[instance.id]
        assert read.categories[instance.label - 1].id == annotation["category_id"]
    for instance in found[::10]:
        mask = coco.annToMask(coco.anns[instance.id])
        np.testing.assert_array_equal(decode(instance), mask)
