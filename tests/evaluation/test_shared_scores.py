"""Scores that ranks share are those of one process, bit for bit."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial

import pytest
from evaluation_sets import instance_set, random_pair
from rank_sets import together

from p2seg.errors import UserError
from p2seg.evaluation.metrics import evaluate


def pseudo(gt):
    """Every second ground truth, as a mask of its point, with crowds left out."""
    kept = [[each for each in own[::2] if not each.crowd] for own in gt.instances]
    return replace(gt, instances=kept)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("world", [2, 5])
def test_scores_are_those_of_one_process(seed, world):
    gt, pred = random_pair(seed, crowds=True, images=7)
    for kind, given in (("model", pred), ("pseudo", pseudo(gt))):
        alone = json.dumps(evaluate(gt, given, kind))
        shared = together(
            world, lambda ranks, kind=kind, given=given: _score(gt, given, kind, ranks)
        )
        assert shared == [alone] * world


def test_also_where_a_rank_has_nothing():
    gt, pred = random_pair(0, images=1)
    for given in (pred, instance_set([], size=(4, 4))):
        alone = _score(gt, given, "model", None)
        assert (
            together(4, lambda ranks, given=given: _score(gt, given, "model", ranks)) == [alone] * 4
        )


def test_a_mistake_of_one_rank_ends_all():
    gt, pred = random_pair(1, images=4)  # its ids are no instances
    with pytest.raises(UserError, match="is not in the ground truth"):
        together(2, partial(_score, gt, pred, "pseudo"))


def _score(gt, pred, kind, ranks):
    return json.dumps(evaluate(gt, pred, kind, ranks))
