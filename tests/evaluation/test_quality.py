"""Quality of pseudo masks, matched by annotation id."""

from __future__ import annotations

import numpy as np
import pytest
from evaluation_sets import instance, instance_set

from p2seg.errors import UserError
from p2seg.evaluation.quality import quality, touching
from p2seg.evaluation.readers import read_ground_truth


def row(ones, of=10):
    """A 10x10 mask of `ones` of the first `of` pixels."""
    mask = np.zeros((10, 10), bool)
    mask.flat[:of] = True
    mask.flat[ones:of] = False
    return mask


def ten(*images):
    return instance_set(*images, size=(10, 10))


def test_by_hand():
    gt = ten(
        [instance(1, row(10), 1), instance(2, row(10), 1), instance(3, row(10), 2)],
        [instance(4, row(10), 2), instance(5, row(10), 2, crowd=True)],
    )
    pred = ten(
        [instance(2, row(8), 1, from_seed=True), instance(1, row(10), 1, default_box=True)],  # no 3
        [instance(4, row(6), 2)],
    )
    result = quality(gt, pred)
    assert result["instances"] == 4
    assert result["mean_iou"] == pytest.approx((1 + 0.8 + 0 + 0.6) / 4)
    assert (result["iou50"], result["iou70"], result["iou90"]) == (3, 2, 1)
    assert [result[f"recall{level}"] for level in (50, 70, 90)] == [0.75, 0.5, 0.25]
    assert (result["multi_instances"], result["multi_mean_iou"]) == (2, pytest.approx(0.9))
    no_box = result["no_box"]
    assert (result["default_boxes"], result["seed_masks"]) == (1, 1)
    assert no_box["instances"] == 4
    assert no_box["mean_iou"] == pytest.approx((0 + 0.8 + 0 + 0.6) / 4)
    assert (no_box["iou50"], no_box["iou70"], no_box["iou90"]) == (2, 1, 0)
    assert (no_box["multi_instances"], no_box["multi_mean_iou"]) == (2, pytest.approx(0.4))
    assert result["per_class"] == {
        "cat": {"instances": 2, "mean_iou": pytest.approx(0.9)},
        "cow": {"instances": 2, "mean_iou": pytest.approx(0.3)},
        "dog": {"instances": 0, "mean_iou": None},
    }


@pytest.mark.parametrize("ones", [5, 7, 9])
def test_counts_are_of_more_than_the_level(ones):
    result = quality(ten([instance(1, row(10))]), ten([instance(1, row(ones))]))
    assert result[f"iou{10 * ones}"] == 0
    result = quality(ten([instance(1, row(100, 100))]), ten([instance(1, row(10 * ones + 1, 100))]))
    assert result[f"iou{10 * ones}"] == 1


def test_sizes_are_those_of_coco():
    def square(side):
        mask = np.zeros((128, 128), bool)
        mask[:side, :side] = True
        return mask

    sides = {1: 31, 2: 32, 3: 95, 4: 96}
    gt = instance_set([instance(k, square(s)) for k, s in sides.items()], size=(128, 128))
    pred = instance_set([instance(1, square(31)), instance(4, square(96))], size=(128, 128))
    assert quality(gt, pred)["per_size"] == {
        "small": {"instances": 1, "mean_iou": 1.0},
        "medium": {"instances": 2, "mean_iou": 0.0},
        "large": {"instances": 1, "mean_iou": 1.0},
    }


def test_a_neighbor_is_of_the_same_class_and_image_and_no_crowd():
    gt = ten(
        [instance(1, row(1), 1), instance(2, row(1), 2)],
        [instance(3, row(1), 1), instance(4, row(1), 1, crowd=True)],
    )
    assert quality(gt, gt_without_crowds(gt))["multi_instances"] == 0
    gt = ten([instance(1, row(1), 1), instance(2, row(1), 1), instance(3, row(1), 1)])
    assert quality(gt, gt)["multi_instances"] == 3


@pytest.mark.parametrize(("gap", "touches"), [(0, True), (2, True), (3, False)])
def test_touching_is_within_three_pixels_of_another_of_its_class(gap, touches):
    """Two squares with `gap` empty pixels between them; one of another class lies on the second."""
    mask = np.zeros((3, 20, 40), bool)
    mask[0, 4:9, 4:9] = True
    mask[1, 4:9, 9 + gap : 20] = True
    mask[2, 4:9, 12:20] = True
    truths = [instance(k + 1, each, 1 + k // 2) for k, each in enumerate(mask)]
    gt = instance_set(truths, size=(20, 40))
    pred = instance_set(truths[:1], size=(20, 40))
    result = quality(gt, pred)
    assert result["touching_instances"] == (2 if touches else 0)
    assert result["touching_mean_iou"] == (0.5 if touches else None)


@pytest.mark.parametrize("seed", range(5))
def test_touching_equals_a_slow_loop_over_pixels(seed):
    rng = np.random.default_rng(seed)
    masks = np.zeros((8, 20, 24), bool)
    for mask in masks:
        y, x = rng.integers(0, 20), rng.integers(0, 24)
        mask[y : y + rng.integers(1, 5), x : x + rng.integers(1, 5)] = True
    truths = [instance(k, mask, 1 + k % 2) for k, mask in enumerate(masks, 1)]
    expected = [
        any(
            other.label == one.label
            and np.min(np.linalg.norm(np.argwhere(a)[:, None] - np.argwhere(b), axis=2)) <= 3
            for other, b in zip(truths, masks, strict=True)
            if other is not one
        )
        for one, a in zip(truths, masks, strict=True)
    ]
    assert touching(truths) == expected
    assert any(expected)
    assert not all(expected)


def gt_without_crowds(gt):
    return ten(*[[each for each in group if not each.crowd] for group in gt.instances])


def test_no_instances_have_no_mean():
    result = quality(ten([]), ten([]))
    assert (result["instances"], result["mean_iou"], result["recall50"]) == (0, None, None)
    assert result["no_box"]["multi_mean_iou"] is None


@pytest.mark.parametrize(
    ("masks", "sentence"),
    [
        ([instance(7, row(1))], "annotation id 7 of a mask in image 1.jpg is not in"),
        ([instance(2, row(1))], "annotation id 2 of a mask in image 1.jpg is not in"),  # a crowd
        ([instance(3, row(1))], "annotation id 3 of a mask in image 1.jpg is not in"),  # in image 2
        ([instance(1, row(1), 2)], "is a cow among the pseudo masks and a cat in the ground truth"),
        ([instance(1, row(1)), instance(1, row(1))], "two pseudo masks of image 1.jpg"),
    ],
)
def test_masks_of_other_points_are_refused(masks, sentence):
    gt = ten([instance(1, row(1)), instance(2, row(1), crowd=True)], [instance(3, row(1))])
    with pytest.raises(UserError, match=sentence):
        quality(gt, ten(masks, []))


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("split", "instances", "multi"), [("train2017", 1795, 1395), ("val2017", 868, 643)]
)
def test_counts_on_real_annotations(realdata, split, instances, multi):
    gt = read_ground_truth(realdata / "coco" / "annotations" / f"instances_{split}.json", "")
    solid = [[each for each in group if not each.crowd] for group in gt.instances]
    result = quality(gt, type(gt)(gt.images, gt.categories, solid))
    assert (result["instances"], result["multi_instances"]) == (instances, multi)
    assert result["mean_iou"] == 1
