"""VOC's AP: the golden vectors, each rule of the definition, and a literal twin."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from evaluation_sets import instance, instance_set, random_pair
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as codec

from p2seg.data.coco import Instance, decode
from p2seg.evaluation.voc import (
    THRESHOLDS,
    class_aps,
    eleven_point_ap,
    mean,
    overlaps,
    precision_recall,
    voc_scores,
)

BOTH = pytest.mark.parametrize("measure", ["voc_area", "voc_11pt"])


def aps(gt, pred, measure="voc_area", threshold=0.5):
    return class_aps(overlaps(gt, pred), threshold, measure)


def one_image(truths, guesses, **options):
    """One image and class; truths are masks, guesses are (mask, score)."""
    gt = instance_set([instance(k, mask) for k, mask in enumerate(truths, 1)], **options)
    answers = [instance(k, mask, score=score) for k, (mask, score) in enumerate(guesses, 1)]
    return gt, instance_set(answers, **options)


@BOTH
def test_golden_a(measure):
    gt, pred = one_image(["1100"], [("0011", 0.8), ("1101", 0.9), ("1011", 1.0)])
    assert aps(gt, pred, measure)[0] == pytest.approx(0.5)


@BOTH
def test_golden_b(measure):
    gt = instance_set([instance(1, "0111"), instance(2, "1110")], [instance(3, "1001", 3)])
    pred = instance_set(
        [instance(1, "0011", score=1.0), instance(2, "1100", score=0.9)],
        [
            instance(3, "1111", 1, score=0.7),
            instance(4, "1101", 3, score=0.6),
            instance(5, "1011", 3, score=0.8),
        ],
    )
    per_class = aps(gt, pred, measure)
    np.testing.assert_allclose(per_class, [1, np.nan, 1])
    assert mean(per_class) == 1


@BOTH
def test_golden_c(measure):
    gt, pred = one_image(["0111", "1101"], [("0110", 0.8), ("1001", 0.9), ("1010", 1.0)])
    expected = 2 / 3 if measure == "voc_area" else eleven_points_of([0, 1 / 2, 2 / 3], [0, 0.5, 1])
    assert aps(gt, pred, measure)[0] == pytest.approx(expected)
    assert expected == pytest.approx(2 / 3)


def eleven_points_of(precision, recall):
    """The definition, word for word."""
    total = 0.0
    for tenth in range(11):
        total += max([p for p, r in zip(precision, recall, strict=True) if r >= tenth / 10] + [0])
    return total / 11


@pytest.mark.parametrize(("threshold", "ones", "of"), [(0.5, 1, 2), (0.75, 3, 4), (0.7, 7, 10)])
def test_an_iou_that_equals_the_threshold_is_a_hit(threshold, ones, of):
    truth = np.zeros((4, 4), bool)
    truth.flat[:of] = True
    guess = np.zeros((4, 4), bool)
    guess.flat[:ones] = True
    gt, pred = one_image([truth], [(guess, 1.0)], size=(4, 4))
    assert aps(gt, pred, threshold=threshold)[0] == 1
    assert aps(gt, pred, threshold=threshold + 1e-6)[0] == 0


def test_a_second_detection_of_a_taken_truth_is_a_miss():
    gt, pred = one_image(["1100", "0011"], [("1100", 0.9), ("1100", 0.8), ("0011", 0.7)])
    precision, recall = precision_recall(overlaps(gt, pred)[0], 0.5)
    np.testing.assert_allclose(precision, [1, 1 / 2, 2 / 3])
    np.testing.assert_allclose(recall, [0.5, 0.5, 1])


def test_where_the_best_truth_is_taken_the_second_best_is_not_tried():
    # the second prediction overlaps the first truth by 1 and the other, free one by .5
    gt, pred = one_image(["1110", "1100"], [("1110", 0.9), ("1110", 0.8)])
    assert overlaps(gt, pred)[0].owner.tolist() == [0, 0]
    assert aps(gt, pred)[0] == 0.5


def test_of_two_truths_of_equal_iou_the_first_is_taken():
    gt, pred = one_image(["1100", "1100"], [("1100", 0.9), ("1100", 0.8)])
    assert overlaps(gt, pred)[0].owner.tolist() == [0, 0]
    assert aps(gt, pred)[0] == 0.5


@BOTH
def test_a_class_of_predictions_only_is_left_out_of_the_mean(measure):
    gt = instance_set([instance(1, "1111", 1)])
    pred = instance_set([instance(1, "1111", 1), instance(2, "1111", 2)])
    per_class = aps(gt, pred, measure)
    np.testing.assert_array_equal(per_class, [1, np.nan, np.nan])
    assert mean(per_class) == 1


@BOTH
def test_a_class_of_ground_truth_only_has_ap_zero(measure):
    gt = instance_set([instance(1, "1111", 1), instance(2, "1111", 2)])
    per_class = aps(gt, instance_set([instance(1, "1111", 1)]), measure)
    np.testing.assert_array_equal(per_class, [1, 0, np.nan])
    assert mean(per_class) == 0.5


def test_an_image_without_truth_makes_every_prediction_a_miss():
    gt = instance_set([instance(1, "1111")], [], [])
    pred = instance_set([instance(1, "1111", score=0.5)], [instance(2, "1111", score=0.9)], [])
    assert aps(gt, pred)[0] == 0.5


def test_nothing_at_all_has_no_score():
    empty = instance_set([])
    assert voc_scores(overlaps(empty, empty)) == {
        measure: dict.fromkeys(("mAP25", "mAP50", "mAP70", "mAP75"))
        for measure in ("voc_area", "voc_11pt")
    }


def test_an_empty_prediction_is_a_miss_also_for_an_empty_truth():
    gt, pred = one_image(["1111"], [("0000", 1.0), ("1111", 0.5)])
    assert aps(gt, pred)[0] == 0.5
    gt, pred = one_image(["0000"], [("0000", 1.0)])
    assert aps(gt, pred, threshold=0.25)[0] == 0


def test_ties_are_ranked_by_image_and_place_in_the_file():
    gt = instance_set([instance(1, "1111")], [instance(2, "1111")])
    miss, hit = instance(1, "1000", score=0.5), instance(2, "1111", score=0.5)
    missed_first = aps(gt, instance_set([miss, hit], []))[0]
    hit_first = aps(gt, instance_set([hit, miss], []))[0]
    assert (missed_first, hit_first) == (0.25, 0.5)
    assert aps(gt, instance_set([miss], [hit]))[0] == 0.25
    assert aps(gt, instance_set([hit], [miss]))[0] == 0.5


def test_a_crowd_is_no_ground_truth():
    gt = instance_set([instance(1, "1100"), instance(2, "0011", crowd=True)])
    pred = instance_set([instance(1, "0011", score=0.9), instance(2, "1100", score=0.8)])
    found = overlaps(gt, pred)[0]
    assert found.positives == 1
    assert aps(gt, pred)[0] == 0.5  # and the prediction in the crowd is a miss


def test_a_recall_of_three_in_ten_reaches_the_point_at_three_tenths():
    recall = np.array([1, 2, 3]) / 10
    assert eleven_point_ap(np.ones(3), recall) == pytest.approx(4 / 11)
    for found in range(11):
        reached = eleven_point_ap(np.ones(1), np.array([found]) / 10)
        assert reached == pytest.approx((found + 1) / 11)


def test_iou_is_compared_in_float32():
    def strip(id, pixels):  # of a column of 2**28 pixels, as no mask could be in memory
        counts = {"size": [2**28, 1], "counts": [0, pixels, 2**28 - pixels]}
        return Instance(id=id, label=1, rle=codec.frPyObjects(counts, 2**28, 1))

    gt = instance_set([strip(1, 2**26 - 1), strip(2, 2**26)], size=(2**28, 1))
    pred = instance_set([strip(1, 2**27)], size=(2**28, 1))
    found = overlaps(gt, pred)[0]
    assert found.owner.tolist() == [0]  # .5 - 2**-27 and .5 are one number, the first wins
    assert aps(gt, pred)[0] == 0.5


def test_the_score_orders_the_whole_set_not_each_image():
    gt = instance_set([instance(1, "1111")], [instance(2, "1111")])
    pred = instance_set([instance(1, "0001", score=0.4)], [instance(2, "1111", score=0.8)])
    assert aps(gt, pred)[0] == 0.5


def slow_aps(gt, pred, measure, threshold):
    """`evaluation.md`, line for line, on dense masks."""
    classes = len(gt.categories)
    n_pos, scores, hits = [0] * classes, [[] for _ in range(classes)], [[] for _ in range(classes)]
    for truths, guesses in zip(gt.instances, pred.instances, strict=True):
        for label in range(1, classes + 1):
            ours = sorted((g for g in guesses if g.label == label), key=lambda g: -g.score)
            owners = [t for t in truths if t.label == label and not t.crowd]
            n_pos[label - 1] += len(owners)
            taken = [False] * len(owners)
            for guess in ours:
                scores[label - 1].append(guess.score)
                iou = [dense_iou(guess, owner) for owner in owners]
                best = max(range(len(iou)), key=lambda k: (iou[k], -k), default=None)
                hit = best is not None and iou[best] >= np.float32(threshold) and not taken[best]
                if best is not None and iou[best] >= np.float32(threshold):
                    taken[best] = True
                hits[label - 1].append(hit)
    result = []
    for label in range(classes):
        if not n_pos[label]:
            result.append(np.nan)
            continue
        order = sorted(range(len(hits[label])), key=lambda k: -scores[label][k])
        true = false = 0
        precision, recall = [], []
        for k in order:
            true, false = true + hits[label][k], false + (not hits[label][k])
            precision.append(true / (true + false))
            recall.append(true / n_pos[label])
        if measure == "voc_11pt":
            result.append(eleven_points_of(precision, recall))
        else:
            result.append(area_of(precision, recall))
    return result


def area_of(precision, recall):
    mrec, mpre = [0.0, *recall, 1.0], [0.0, *precision, 0.0]
    for k in reversed(range(len(mpre) - 1)):
        mpre[k] = max(mpre[k], mpre[k + 1])
    return sum((mrec[k + 1] - mrec[k]) * mpre[k + 1] for k in range(len(mrec) - 1))


def dense_iou(first, second):
    a, b = decode(first), decode(second)
    union = (a | b).sum()
    return np.float32((a & b).sum() / union) if union else np.float32(0)


@given(seed=st.integers(0, 2**32 - 1), side=st.integers(1, 5), density=st.sampled_from([0.1, 0.6]))
def test_equals_its_slow_twin(seed, side, density):
    gt, pred = random_pair(seed, crowds=True, side=side, density=density)
    found = overlaps(gt, pred)
    for measure in ("voc_area", "voc_11pt"):
        for threshold in THRESHOLDS.values():
            fast = class_aps(found, threshold, measure)
            np.testing.assert_allclose(fast, slow_aps(gt, pred, measure, threshold), atol=1e-12)


@given(seed=st.integers(0, 2**32 - 1))
def test_scores_of_one_are_the_ranking_by_place(seed):
    gt, pred = random_pair(seed)
    level = [[replace(g, score=1.0) for g in guesses] for guesses in pred.instances]
    fast = class_aps(
        [replace(o, scores=np.ones_like(o.scores)) for o in overlaps(gt, pred)], 0.5, "voc_area"
    )
    slow = slow_aps(gt, replace(pred, instances=level), "voc_area", 0.5)
    np.testing.assert_allclose(fast, slow, atol=1e-12)
