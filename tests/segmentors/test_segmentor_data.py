"""Images and instances as a segmentor learns them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from segmentor_sets import make_set, square

from p2seg.data.coco import Instance, encode
from p2seg.errors import UserError
from p2seg.segmentors.augment import RandomResize, resized
from p2seg.segmentors.data import InstanceBatch, InstanceDataset, target_of, usable

AS_IS = RandomResize(short_side=64, long_side=128, flip=False)


def instance(mask, label=1, **fields):
    return Instance(id=1, label=label, rle=encode(mask), **fields)


@given(st.integers(1, 7000), st.integers(1, 7000), st.integers(1, 900), st.integers(1, 1500))
def test_a_resized_image_keeps_its_shape_and_a_pixel_each_way(height, width, short, long):
    h, w = resized(height, width, short, max(short, long))
    assert h >= 1
    assert w >= 1
    assert max(h, w) <= max(short, long)
    assert min(h, w) <= short
    scale = min(short / min(height, width), max(short, long) / max(height, width))
    assert abs(h - max(1, height * scale)) <= 0.5
    assert abs(w - max(1, width * scale)) <= 0.5


def test_boxes_reach_the_far_edge_of_the_last_pixel():
    random = np.random.default_rng(0)
    masks = (random.random((20, 9, 7)) < 0.05).astype(np.uint8)
    masks[0] = 0
    masks[1] = 0
    masks[1, 3, 4] = 1  # one pixel
    labels = torch.arange(1, 21)
    target = target_of(torch.from_numpy(masks), labels)
    expected = []
    for mask, label in zip(masks, labels.tolist(), strict=True):
        ys, xs = np.nonzero(mask)
        if len(ys):
            expected.append((label, [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]))
    assert target.labels.tolist() == [label for label, _ in expected]
    assert target.boxes.tolist() == [box for _, box in expected]
    assert target.boxes[0].tolist() == [4, 3, 5, 4]
    assert len(target.masks) == len(expected)


def test_no_instance_gives_empty_tensors():
    image, masks = AS_IS(torch.zeros((3, 64, 64), dtype=torch.uint8), [], torch.Generator())
    target = target_of(masks, torch.zeros(0, dtype=torch.int64))
    assert image.shape == (3, 64, 64)
    assert target.boxes.shape == (0, 4)
    assert target.labels.shape == target.weights.shape == target.mask_weights.shape == (0,)
    assert target.masks.shape == (0, 64, 64)


def test_image_and_masks_move_together(tmp_path):
    given = make_set(tmp_path, [(1, 4, 40, 12), (2, 30, 8, 20)])
    augment = RandomResize(short_side=64, long_side=128, scale=(0.5, 2.0))
    dataset = InstanceDataset(given, tmp_path, augment, seed=0)
    sizes, left = set(), set()
    for epoch in range(12):
        _, image, target = dataset[(epoch, 0)]
        sizes.add(image.shape[1])
        left.add(bool(target.boxes[0, 0] < target.boxes[1, 0]))
        assert target.masks.shape[1:] == image.shape[1:]
        for mask, channel in zip(target.masks.bool(), (0, 2), strict=True):
            bright = image[channel] > 170  # half way from gray to the square's color
            assert (bright & mask).sum() / (bright | mask).sum() > 0.85
    assert len(sizes) > 6
    assert min(sizes) >= 32
    assert max(sizes) <= 128
    assert left == {True, False}  # both ways round


def test_samples_depend_on_seed_epoch_and_index_alone(tmp_path):
    given = make_set(tmp_path, [(1, 4, 40, 12)], [(2, 30, 8, 20)])
    augment = RandomResize(short_side=64, long_side=128, scale=(0.5, 2.0))
    first = InstanceDataset(given, tmp_path, augment, seed=3)
    again = InstanceDataset(given, tmp_path, augment, seed=3)
    torch.manual_seed(99)
    for key in ((1, 1), (0, 0), (0, 1), (1, 0)):
        assert torch.equal(first[key][1], again[key][1])
        assert torch.equal(first[key][2].masks, again[key][2].masks)
    other = InstanceDataset(given, tmp_path, augment, seed=4)
    assert any(first[(e, 0)][1].shape != other[(e, 0)][1].shape for e in range(3))
    assert any(first[(e, 0)][1].shape != first[(e + 1, 0)][1].shape for e in range(3))


def test_crowds_and_empty_masks_are_left_out_but_negatives_and_boxes_kept(tmp_path):
    given = make_set(tmp_path, [(1, 4, 4, 12)], [])
    own = [
        instance(square(64, 64, 0, 0, 9), label=2, default_box=True),
        instance(square(64, 64, 20, 20, 9), crowd=True),
        instance(np.zeros((64, 64))),
    ]
    given = replace(given, instances=[own, []])
    dataset = InstanceDataset(given, tmp_path, AS_IS, seed=0)
    assert len(dataset) == 2
    assert dataset[(0, 0)][2].labels.tolist() == [2]
    name, _, target = dataset[(0, 1)]
    assert name == "2.png"
    assert len(target.labels) == 0


@pytest.mark.parametrize("groups", [(), ([], [])])
def test_nothing_to_train_on(tmp_path, groups):
    given = make_set(tmp_path, *groups)
    with pytest.raises(UserError, match="has an instance"):
        InstanceDataset(given, tmp_path, AS_IS, seed=0)


@pytest.mark.parametrize("size", [(1, 1), (1, 6000)])
def test_odd_sizes(tmp_path, size):
    given = make_set(tmp_path, [(1, 0, 0, 1)], size=size)
    augment = RandomResize(short_side=800, long_side=1333, scale=(0.8, 1.0))
    _, image, target = InstanceDataset(given, tmp_path, augment, seed=0)[(0, 0)]
    assert image.shape[1] >= 1
    assert image.shape[2] <= 1333
    assert target.masks.shape[1:] == image.shape[1:]


def test_a_batch_keeps_every_size(tmp_path):
    given = make_set(tmp_path, [(1, 4, 4, 12)], [(2, 4, 4, 12)])
    augment = RandomResize(short_side=64, long_side=128, scale=(0.5, 2.0))
    dataset = InstanceDataset(given, tmp_path, augment, seed=0)
    batch = InstanceBatch.of([dataset[(0, 0)], dataset[(0, 1)]])
    assert batch.names == ["1.png", "2.png"]
    assert batch.images[0].dtype == torch.uint8
    for image, target in zip(batch.images, batch.targets, strict=True):
        assert image.shape[1:] == target.masks.shape[1:]


def broken_set(folder):
    """Images 1 and 4 can be read; 2 is cut short, 3 is of another size than annotated."""
    given = make_set(folder, *[[(1, 4, 4, 12)]] * 4)
    (folder / "2.png").write_bytes((folder / "2.png").read_bytes()[:60])
    Image.new("RGB", (10, 10)).save(folder / "3.png")
    return given


def test_an_image_that_cannot_be_read_stops_all(tmp_path):
    with pytest.raises(UserError, match=r"2\.png"):
        usable(broken_set(tmp_path), tmp_path, "raise")


def test_or_is_skipped_and_named(tmp_path):
    given = broken_set(tmp_path)
    left, skipped = usable(given, tmp_path, "skip")
    assert [image.id for image in left.images] == [1, 4]
    assert left.instances == [given.instances[0], given.instances[3]]
    assert len(skipped) == 2
    assert "2.png" in skipped[0]
    assert "3.png" in skipped[1]


def test_all_skipped_is_an_error(tmp_path):
    given = make_set(tmp_path, [(1, 4, 4, 12)])
    with pytest.raises(UserError, match="all 1 images were skipped"):
        usable(given, tmp_path / "elsewhere", "skip")
