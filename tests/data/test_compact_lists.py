"""Lists kept as arrays: the same items, no Python object held, and workers get names of memory."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from multiprocessing.reduction import ForkingPickler

import numpy as np
import pytest
import torch
import torch.multiprocessing  # how a tensor goes to another process
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strategies import points_of
from test_coco_files import document, write
from training_sets import training_set

from p2seg.data import coco, rle
from p2seg.data.coco import ImageRecord, Instance, InstanceSet, read_instances
from p2seg.data.compact_lists import Column, Packed, PackedPoints, ends, taken
from p2seg.data.dataset import PointDataset
from p2seg.data.instances import PackedInstances
from p2seg.data.points import read_points
from p2seg.data.records import PackedImages
from p2seg.data.transforms import Augment
from p2seg.errors import UserError
from p2seg.mdm.seed import Seeder
from p2seg.segmentors.augment import RandomResize
from p2seg.segmentors.data import InstanceDataset

RECORDS = [ImageRecord(2**63 - 1, "ä b/ü.png", 9, 13), ImageRecord(0, "x.png", 2, 70000)]


def objects_of(value, path="it"):
    """What of a packed list is neither a number nor an array."""
    return [
        f"{path}.{name}"
        for name, each in vars(value).items()
        if not isinstance(each, (torch.Tensor, int, float))
    ]


def instances(masks=((9, 13), (2, 3))):
    rng = np.random.default_rng(0)
    (a, b), (c, d) = masks
    return [
        [
            Instance(4, 1, rle.encode(rng.random((a, b)) < 0.4), score=0.1, point=(8.75, 12.125)),
            Instance(9, 2, rle.encode(rng.random((a, b)) < 0.4), crowd=True),
        ],
        [],
        [Instance(-3, 300, rle.encode(np.ones((c, d))), default_box=True)],
    ]


def test_images_are_the_same_images():
    packed = PackedImages(RECORDS)
    assert packed == RECORDS
    assert list(packed) == RECORDS
    assert [packed[-1], *packed[:1]] == RECORDS[::-1]
    assert packed.taking([1, 0, 1]) == [RECORDS[1], RECORDS[0], RECORDS[1]]
    assert packed.taking([]) == []
    assert packed.taking([1, 0])[1:] == [RECORDS[0]]
    assert (packed != RECORDS[:1], packed == RECORDS[::-1]) == (True, False)
    assert pickle.loads(pickle.dumps(packed)) == RECORDS
    assert PackedImages([]) == []
    with pytest.raises(IndexError):
        packed[2]
    with pytest.raises(TypeError):
        packed[0] = RECORDS[0]
    assert objects_of(packed) == []


def test_instances_are_the_same_instances():
    groups = instances()
    packed = PackedInstances.of(groups, np.array([(9, 13), (1, 1), (2, 3)]))
    assert packed == groups
    assert packed.taking([2, 0]) == [groups[2], groups[0]]
    assert packed.taking([2, 0]).scores.tolist() == [1, 0.1, 1]
    assert packed.taking([2, 0]).default_boxes.tolist() == [True, False, False]
    assert packed.counts.tolist() == [2, 0, 1]
    assert packed[0][::-1] == groups[0][::-1]
    assert packed[0][-1] == groups[0][1]
    left = packed.without_crowds()
    assert left == [groups[0][:1], [], groups[2]]
    assert left.taking([2, 0]).counts.tolist() == [1, 1]
    assert packed == groups, "the crowd is still there"
    assert PackedInstances.of([], np.zeros((0, 2), int)) == []
    assert objects_of(packed) == []


def test_points_are_the_same_points_and_copies():
    groups = [points_of([(1.5, 2.25), (0, 0)], [1, 255]), points_of([], [])]
    packed = PackedPoints.of(groups)
    for one, other in zip(packed, groups, strict=True):
        for name in ("yx", "labels", "ids"):
            made, wanted = getattr(one, name), getattr(other, name)
            assert torch.equal(made, wanted)
            assert made.dtype == wanted.dtype
            # a worker would hand on all of the memory that it is a part of
            assert made.untyped_storage().nbytes() == made.numel() * made.element_size()
    packed[0].yx.zero_()
    assert packed[0].yx[0, 0] == 1.5
    assert packed.taking([1, 0]).counts.tolist() == [0, 2]
    assert objects_of(packed) == []


def test_what_is_taken_of_a_list_is_a_list():
    assert taken(["a", "b"], [1, 1]) == ["b", "b"]
    assert ends([2, 0, 3]).tolist() == [0, 2, 2, 5]
    column = Column(np.int32)
    column.add([1, 2])
    column.add(np.array([3.0]))
    assert column.tensor().tolist() == [1, 2, 3]
    assert Column(np.float64).tensor().tolist() == []


def test_polygons_are_drawn_when_they_are_asked_for(tmp_path, monkeypatch):
    path = write(tmp_path, document())
    drawn = []
    monkeypatch.setattr(
        rle, "drawn", lambda *given, draw=rle.drawn: drawn.append(1) or draw(*given)
    )
    read = read_instances(path)
    assert [len(group) for group in read.instances] == [2, 1]
    assert not drawn
    once = read.drawn()
    assert len(drawn) == 2  # the triangle, and nothing
    assert once == read
    drawn.clear()
    assert once.instances[0][0].rle == rle.from_segmentation([[2, 1, 9, 1, 9, 6]], 8, 12)
    assert len(drawn) == 1  # of the expected one alone


def test_data_sets_hold_arrays_alone(tmp_path):
    made = training_set(tmp_path / "points", 3)
    points = PointDataset(read_points(made.file), made.reader, Seeder(), Augment(), 0)
    given = InstanceSet([*RECORDS, ImageRecord(1, "y.png", 2, 3)], [], instances())
    masks = InstanceDataset(given, tmp_path, RandomResize(64, 128), 0)
    for kept in (points.images, points.points, masks.images, masks.instances):
        assert isinstance(kept, Packed)
        assert objects_of(kept) == []
    for dataset in (points, masks):
        assert not [name for name, each in vars(dataset).items() if isinstance(each, (list, dict))]


def test_a_spawned_worker_gets_the_name_of_the_memory():
    counts = np.zeros((300, 400), bool)
    counts[::2, ::2] = True
    group = [Instance(k, 1, rle.encode(counts)) for k in range(40)]
    packed = PackedInstances.of([group] * 10, np.full((10, 2), (300, 400)))
    assert len(pickle.dumps(packed)) > 5_000_000
    sent = bytes(ForkingPickler.dumps(packed))
    assert len(sent) < 20_000
    assert pickle.loads(sent)[9][39] == group[39]


def test_annotations_may_come_before_their_images(tmp_path):
    content = document()
    expected = read_instances(write(tmp_path, content))
    turned = {key: content[key] for key in ("annotations", "categories", "images")}
    assert read_instances(write(tmp_path, turned)) == expected
    turned["annotations"][1]["image_id"] = 99
    with pytest.raises(UserError, match="annotation 10 is of image 99, which is not listed"):
        read_instances(write(tmp_path, turned))
    with pytest.raises(UserError, match="has no 'images'"):
        read_instances(write(tmp_path, {"annotations": [{}], "categories": []}))


polygons = st.lists(
    st.lists(st.integers(-20, 300) | st.floats(-20, 300), min_size=0, max_size=9), max_size=3
)
counts = st.text(alphabet="0123456789:;<=>?@AOP_`ao", max_size=4) | st.just("d0")
masks = (
    polygons
    | st.fixed_dictionaries({"size": st.just([4, 5]) | st.just([5, 4]), "counts": counts})
    | st.just({"size": [4, 5], "counts": [3, 5, 12]})
    | st.none()
)
annotations = st.fixed_dictionaries(
    {"category_id": st.integers(1, 2), "segmentation": masks},
    optional={
        "score": st.sampled_from([0, 0.5, 1, 2, True, "x", 10**400]),
        "iscrowd": st.sampled_from([0, 1, True, 1.0, 2, [], None]),
        "default_box": st.sampled_from([False, True, 1, "1"]),
        "from_seed": st.sampled_from([False, True, 0, None]),
        "point": st.sampled_from([[0, 0], [4.9, 3.9], [5, 0], [-1, 2], [1], None, [1, "1"], 7]),
    },
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(annotations, max_size=5))
def test_by_the_thousand_is_one_by_one(tmp_path, given):
    """The same sets, and the same sentence for the first that is wrong."""
    listed = [{"id": k, "image_id": 1, **each} for k, each in enumerate(given)]
    content = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 5, "height": 4}],
        "annotations": listed,
        "categories": [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}],
    }
    path = tmp_path / "a.json"
    path.write_text(json.dumps(content))
    found = []
    for quick in (True, False):
        with pytest.MonkeyPatch.context() as patch:
            if not quick:
                patch.setattr(coco, "add_regular", lambda *_: False)
            try:
                found.append(read_instances(path))
            except UserError as error:
                found.append(str(error))
    assert found[0] == found[1]


def test_many_codes_are_checked_as_each_one():
    rng = np.random.default_rng(0)
    wrong = 0
    for _ in range(400):
        height, width = rng.integers(1, 30, 2).tolist()
        code = bytearray(rle.encode(rng.random((height, width)) < rng.random())["counts"])
        for _ in range(rng.integers(0, 3)):
            code[rng.integers(len(code))] = rng.integers(40, 120)
        segmentation = {"size": [height, width], "counts": code.decode()}
        try:
            rle.from_segmentation(segmentation, height, width)
            expected = -1
        except ValueError:
            expected = 1
            wrong += 1
        good = rle.encode(np.ones((3, 4)))["counts"]
        text = np.frombuffer(good + bytes(code), np.int8)
        cuts = np.cumsum([0, len(good), len(code)])
        assert rle.first_wrong(text, cuts, np.array([12, height * width])) == expected
    assert 100 < wrong < 380


def test_a_set_of_some_images(tmp_path):
    read = read_instances(write(tmp_path, document()))
    some = read.taking([1])
    assert (some.images, some.instances) == (read.images[1:], read.instances[1:])
    plain = InstanceSet(list(read.images), read.categories, [list(g) for g in read.instances])
    assert plain.taking([1]) == replace(some, info={})
    made = training_set(tmp_path, 3)
    assert [each.id for each in read_points(made.file).taking([2, 0]).images] == [12, 10]
