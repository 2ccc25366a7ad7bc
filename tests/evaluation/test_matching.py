"""AJI and PQ, by hand and by a slow search over all assignments."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
from evaluation_sets import instance, instance_set, random_pair

from p2seg.data.coco import decode
from p2seg.evaluation.matching import matching
from p2seg.evaluation.metrics import evaluate


def pixels(first, last, id=1, label=1, **fields):
    """A mask of the pixels `first..last` of a 10x10 image, row by row."""
    mask = np.zeros((10, 10), bool)
    mask.flat[first : last + 1] = True
    return instance(id, mask, label, **fields)


def scores(truths, guesses, least=None):
    result = matching(*(instance_set(each, size=(10, 10)) for each in (truths, guesses)), least)
    return result["AJI"], result["PQ"]


A, B = pixels(0, 9, 1), pixels(10, 19, 2)


@pytest.mark.parametrize(
    ("truths", "guesses", "aji", "pq"),
    [
        ([A, B], [A, B], 1, 1),
        # A with the first (10 of 15), B with the second (5 of 10: no match of PQ), the third alone
        ([A, B], [pixels(0, 14), pixels(15, 19), pixels(50, 52)], 15 / 28, (10 / 15) / 2.5),
        # one prediction is the best of both true masks
        ([A, B], [pixels(0, 19)], 20 / 40, 0),
        # B has none
        ([A, B], [A], 10 / 20, 1 / 1.5),
        # a prediction of another class is of nobody
        ([A], [pixels(0, 9, label=2)], 0, 0),
        # found twice
        ([A], [pixels(0, 9), pixels(0, 8)], 10 / 19, 1 / 1.5),
        ([A], [], 0, 0),
        ([], [A], 0, 0),
        ([], [], None, None),
        # crowds are no instances
        ([A, pixels(30, 60, 3, crowd=True)], [A], 1, 1),
    ],
)
def test_by_hand(truths, guesses, aji, pq):
    assert scores(truths, guesses) == (pytest.approx(aji), pytest.approx(pq))


def test_the_mean_is_over_images_that_have_a_mask():
    gt = instance_set([A, B], [A], [], size=(10, 10))
    pred = instance_set([A, B], [pixels(0, 4)], [], size=(10, 10))
    result = matching(gt, pred, None)
    assert result == {"AJI": 0.75, "PQ": 0.5, "images": 2, "least_score": None}


def test_a_model_s_masks_count_from_one_half_and_all_pseudo_masks_count():
    gt = instance_set([A], size=(10, 10))
    low = pixels(50, 59, 2, score=0.49)
    pred = instance_set([replace(A, score=0.5), low], size=(10, 10))
    assert evaluate(gt, pred, "model")["matching"]["AJI"] == 1
    gt, pred = (replace(each, instances=[[*each.instances[0], low]]) for each in (gt, pred))
    pred = replace(pred, instances=[pred.instances[0][:2]])
    assert evaluate(gt, pred, "pseudo")["matching"]["AJI"] == 1
    assert evaluate(gt, pred, "model")["matching"]["AJI"] == 0.5


@pytest.mark.parametrize("seed", range(20))
def test_overlapping_masks_equal_a_slow_search(seed):
    gt, pred = random_pair(seed, crowds=True, density=0.7)
    found = [slow(*each) for each in zip(gt.instances, pred.instances, strict=True)]
    found = [each for each in found if each is not None]
    result = matching(gt, pred, None)
    assert result["images"] == len(found)
    if found:
        assert (result["AJI"], result["PQ"]) == pytest.approx(tuple(np.mean(found, axis=0)))


def slow(truths, guesses):
    """AJI and PQ of an image from pixels; PQ tries all assignments."""
    truths = [each for each in truths if not each.crowd]
    if not truths and not guesses:
        return None
    common, union, used = 0, 0, set()
    for truth in truths:
        rows = [(overlap(truth, guess), k) for k, guess in enumerate(guesses)]
        best = max(rows, key=lambda row: row[0][0] / row[0][1], default=((0, 1), -1))
        (shared, together), k = best
        if shared:
            used.add(k)
        common += shared
        union += together if shared else int(decode(truth).sum())
    union += sum(int(decode(guess).sum()) for k, guess in enumerate(guesses) if k not in used)
    few, many = sorted((truths, guesses), key=len)
    most = 0.0
    for chosen in permutations(many, len(few)):
        pairs = [overlap(a, b) for a, b in zip(few, chosen, strict=True)]
        most = max(most, sum(a / b for a, b in pairs if a / b > 0.5))
    return common / union if union else 0.0, most / ((len(truths) + len(guesses)) / 2)


def overlap(one, other):
    """Intersection and union of two masks, of different classes (0, 1)."""
    a, b = decode(one), decode(other)
    if one.label != other.label or not (a | b).any():
        return 0, 1
    return int((a & b).sum()), int((a | b).sum())
