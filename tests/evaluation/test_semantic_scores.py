"""Mean IoU of semantic maps."""

from __future__ import annotations

import numpy as np
import pytest
from evaluation_sets import instance, instance_set
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from p2seg.errors import UserError
from p2seg.evaluation.semantic import (
    MapScores,
    class_ious,
    confusion,
    masks_miou,
    painted,
    semantic_scores,
)


def write(folder, *maps):
    for number, each in enumerate(maps, start=1):
        Image.fromarray(np.array(each, np.uint8)).save(folder / f"{number}.png")
    return folder


def test_by_hand(tmp_path):
    # image 1: upper row cat, lower row background; image 2: cow all over
    gt = instance_set([instance(1, "1100", 1)], [instance(2, "1111", 2)])
    folder = write(tmp_path, [[1, 0], [0, 2]], [[2, 2], [1, 255]])
    scores = semantic_scores(folder, gt)
    per_class = {"background": 1 / 3, "cat": 1 / 3, "cow": 2 / 5, "dog": None}
    assert scores["per_class"] == pytest.approx(per_class)
    assert scores["miou"] == pytest.approx((1 / 3 + 1 / 3 + 2 / 5) / 3)
    assert scores["miou_labeled"] == pytest.approx((1 / 3 + 1 / 3 + 2 / 4) / 3)
    assert scores["labeled"] == 7 / 8


def test_one_map_after_the_other_is_all_at_once(tmp_path):
    gt = instance_set([instance(1, "1100", 1)], [instance(2, "1111", 2)])
    maps = [[1, 0], [0, 2]], [[2, 2], [1, 255]]
    scores = MapScores(gt)
    scores.add("2.jpg", np.array(maps[1], np.uint8))
    assert scores.scores()["per_class"]["cow"] == 0.5
    scores.add("unknown.jpg", np.zeros((2, 2), np.uint8))
    scores.add("1.jpg", np.array(maps[0], np.uint8))
    assert scores.scores() == {"images": 2, **semantic_scores(write(tmp_path, *maps), gt)}
    with pytest.raises(UserError, match=r"image 1\.jpg is 3x2 in the points file but 2x2"):
        scores.add("1.jpg", np.zeros((2, 3), np.uint8))


def test_the_class_map_of_masks_by_hand():
    # image 1: upper row cat; the masks say cat, cow on half of it; image 2: cow, found in half
    gt = instance_set([instance(1, "1100", 1)], [instance(2, "1111", 2)])
    masks = instance_set([instance(1, "1110", 1), instance(9, "0100", 2)], [instance(2, "0011", 2)])
    background, cat, cow = 1 / 4, 1 / 3, 2 / 5
    assert masks_miou(gt, masks) == pytest.approx((background + cat + cow) / 3)
    assert masks_miou(gt, gt) == 1
    assert masks_miou(instance_set(), instance_set()) is None


def test_perfect_maps(tmp_path):
    gt = instance_set([instance(1, "1100", 1), instance(2, "0001", 2)])
    scores = semantic_scores(write(tmp_path, [[1, 1], [0, 2]]), gt)
    assert (scores["miou"], scores["miou_labeled"], scores["labeled"]) == (1, 1, 1)


def test_small_objects_lie_on_large_ones_and_crowds_below_all():
    large, small = instance(1, "1110", 1), instance(2, "0100", 2)
    crowd = instance(3, "1011", 3, crowd=True)
    for order in ([large, small, crowd], [crowd, small, large]):
        np.testing.assert_array_equal(painted(order, (2, 2)), [[1, 2], [1, 255]])


def test_what_the_truth_ignores_is_left_out():
    counts = confusion(np.array([[255, 1]], np.uint8), np.array([[1, 1]], np.uint8), 2)
    assert counts.sum() == counts[1, 1] == 1


def test_a_class_found_where_there_is_none_spoils_others_only():
    counts = confusion(np.array([[0, 0]], np.uint8), np.array([[0, 2]], np.uint8), 2)
    np.testing.assert_allclose(class_ious(counts), [0.5, np.nan, np.nan])


@given(seed=st.integers(0, 2**32 - 1))
def test_equals_its_slow_twin(seed):
    rng = np.random.default_rng(seed)
    truth, given_map = rng.choice([0, 1, 2, 3, 255], (2, 3, 5)).astype(np.uint8)
    expected = []
    for label in range(4):
        hits = true = claimed = 0
        for y, x in np.ndindex(3, 5):
            if truth[y, x] != 255:
                hits += truth[y, x] == given_map[y, x] == label
                true += truth[y, x] == label
                claimed += given_map[y, x] == label
        expected.append(hits / (true + claimed - hits) if true else np.nan)
    np.testing.assert_allclose(class_ious(confusion(truth, given_map, 3)), expected)


def test_nothing_has_no_score(tmp_path):
    assert semantic_scores(tmp_path, instance_set())["miou"] is None


def test_a_missing_map_and_one_of_another_size(tmp_path):
    gt = instance_set([instance(1, "1100", 1)])
    with pytest.raises(UserError, match=r"1\.png"):
        semantic_scores(tmp_path, gt)
    with pytest.raises(UserError, match="3x1"):
        semantic_scores(write(tmp_path, [[0, 0, 0]]), gt)
