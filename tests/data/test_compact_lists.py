"""Lists kept as arrays: the same items, no Python object held, and workers get names of memory."""

from __future__ import annotations

import pickle
from dataclasses import replace
from multiprocessing.reduction import ForkingPickler

import numpy as np
import pytest
import torch
import torch.multiprocessing  # how a tensor goes to another process
from strategies import points_of
from test_coco_files import document, write
from training_sets import training_set

from p2seg.data import rle
from p2seg.data.coco import ImageRecord, Instance, InstanceSet, read_instances
from p2seg.data.compact_lists import Packed, PackedPoints, ends, subset_of
from p2seg.data.dataset import PointDataset
from p2seg.data.instances import PackedInstances
from p2seg.data.points import read_points
from p2seg.data.records import PackedImages
from p2seg.data.transforms import Augment
from p2seg.errors import UserError
from p2seg.method.seed import Seeder
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
    assert packed.subset([1, 0, 1]) == [RECORDS[1], RECORDS[0], RECORDS[1]]
    assert packed.subset([]) == []
    assert packed.subset([1, 0])[1:] == [RECORDS[0]]
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
    assert packed.subset([2, 0]) == [groups[2], groups[0]]
    assert packed.subset([2, 0]).scores.tolist() == [1, 0.1, 1]
    assert packed.subset([2, 0]).default_boxes.tolist() == [True, False, False]
    assert packed.counts.tolist() == [2, 0, 1]
    assert packed[0][::-1] == groups[0][::-1]
    assert packed[0][-1] == groups[0][1]
    left = packed.without_crowds()
    assert left == [groups[0][:1], [], groups[2]]
    assert left.subset([2, 0]).counts.tolist() == [1, 1]
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
    assert packed.subset([1, 0]).counts.tolist() == [0, 2]
    assert objects_of(packed) == []


def test_what_is_taken_of_a_list_is_a_list():
    assert subset_of(["a", "b"], [1, 1]) == ["b", "b"]
    assert ends([2, 0, 3]).tolist() == [0, 2, 2, 5]


def test_a_drawn_set_is_the_same_set(tmp_path):
    polygon = [[2, 1, 9, 1, 9, 6]]
    read = read_instances(write(tmp_path, document()))
    drawn = read.rasterized()
    assert drawn == read
    for each in (read, drawn):
        assert [len(group) for group in each.instances] == [2, 1]
        assert each.instances[0][0].rle == rle.from_segmentation(polygon, 8, 12)


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
    with pytest.raises(UserError, match="annotation 10 has image_id 99"):
        read_instances(write(tmp_path, turned))
    with pytest.raises(UserError, match="has no 'images'"):
        read_instances(write(tmp_path, {"annotations": [{}], "categories": []}))


def test_a_set_of_some_images(tmp_path):
    read = read_instances(write(tmp_path, document()))
    some = read.subset([1])
    assert (some.images, some.instances) == (read.images[1:], read.instances[1:])
    plain = InstanceSet(list(read.images), read.categories, [list(g) for g in read.instances])
    assert plain.subset([1]) == replace(some, info={})
    made = training_set(tmp_path, 3)
    assert [each.id for each in read_points(made.file).subset([2, 0]).images] == [12, 10]
