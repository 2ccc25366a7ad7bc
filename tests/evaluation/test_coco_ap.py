"""COCO's AP: equal to pycocotools, crowds, empty predictions, ids and silence."""

from __future__ import annotations

import contextlib
import copy
import io
import json
from dataclasses import replace

import numpy as np
import pytest
from evaluation_sets import instance, instance_set, random_pair
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as codec
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from p2seg.data.coco import Instance
from p2seg.evaluation.coco import IOU_THRESHOLDS, class_aps, coco_scores
from p2seg.evaluation.readers import read_ground_truth, read_predictions


def reference(dataset, results, max_dets=100):
    """The scores as pycocotools gives them, with .25 put before its own thresholds."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = copy.deepcopy(dataset)
        truth.createIndex()
        evaluator = COCOeval(truth, truth.loadRes(copy.deepcopy(results)), "segm")
        evaluator.params.maxDets = [max_dets]
        own = evaluator.params.iouThrs
        evaluator.params.iouThrs = np.concatenate([[0.25], own])
        evaluator.evaluate()
        evaluator.accumulate()
    precision = evaluator.eval["precision"][..., 0, -1]

    def score(rows):
        valid = precision[rows][precision[rows] > -1]
        return valid.mean() if valid.size else None

    rows = {"AP": slice(1, None), "AP25": [0], "AP50": [1], "AP70": [5], "AP75": [6]}
    return {name: score(part) for name, part in rows.items()}


def as_json(gt, pred):
    """The two sets as pycocotools reads them."""

    def item(image, each):
        counts = each.rle["counts"].decode()
        segmentation = {"size": each.rle["size"], "counts": counts}
        return {"image_id": image, "category_id": each.label, "segmentation": segmentation}

    annotations, results = [], []
    for image, (truths, guesses) in enumerate(zip(gt.instances, pred.instances, strict=True), 1):
        for each in truths:
            area = int(codec.area(each.rle))
            extra = {"id": len(annotations) + 1, "area": area, "iscrowd": int(each.crowd)}
            annotations.append(item(image, each) | extra)
        results += [item(image, each) | {"score": each.score} for each in guesses]
    images = [{"id": k, "height": i.height, "width": i.width} for k, i in enumerate(gt.images, 1)]
    categories = [{"id": k, "name": c.name} for k, c in enumerate(gt.categories, 1)]
    return {"images": images, "categories": categories, "annotations": annotations}, results


def assert_equal(scores, expected):
    assert scores.keys() == expected.keys()
    for name, value in expected.items():
        if value is None:
            assert scores[name] is None
        else:
            assert scores[name] == pytest.approx(value, abs=1e-9), name


def test_the_thresholds_are_coco_s_own_and_a_quarter():
    own = COCOeval(iouType="segm").params.iouThrs
    np.testing.assert_array_equal(IOU_THRESHOLDS, [0.25, *own])


@given(seed=st.integers(0, 2**32 - 1), density=st.sampled_from([0.2, 0.6]))
def test_equals_pycocotools(seed, density):
    gt, pred = random_pair(seed, crowds=True, density=density)
    if not any(pred.instances):
        return  # pycocotools takes no empty results
    dataset, results = as_json(gt, pred)
    assert_equal(coco_scores(class_aps(gt, pred)), reference(dataset, results))
    ones = [result | {"score": 1.0} for result in results]
    level = coco_scores(class_aps(gt, pred, scores_one=True))
    assert_equal(level, reference(dataset, ones))


def test_an_image_counts_its_hundred_best_predictions_of_a_class():
    gt = instance_set([instance(1, "1111")])
    misses = [instance(k, "0001", score=0.9) for k in range(2, 102)]
    pred = instance_set([*misses, instance(1, "1111", score=0.5)])
    assert coco_scores(class_aps(gt, pred))["AP50"] == 0
    pred = instance_set([*misses[:99], instance(1, "1111", score=0.5)])
    assert coco_scores(class_aps(gt, pred))["AP50"] == pytest.approx(0.01)


def test_a_prediction_in_a_crowd_counts_neither_way():
    crowd = instance(2, "0011", crowd=True)
    pred = instance_set([instance(1, "0001", score=0.9), instance(2, "1100", score=0.8)])
    with_crowd = class_aps(instance_set([instance(1, "1100"), crowd]), pred)
    without = class_aps(instance_set([instance(1, "1100")]), pred)
    assert coco_scores(with_crowd)["AP50"] == pytest.approx(1)
    assert coco_scores(without)["AP50"] == pytest.approx(0.5)


def test_no_predictions_score_zero_where_there_is_ground_truth():
    gt = instance_set([instance(1, "1100", 1), instance(2, "1100", 2, crowd=True)])
    aps = class_aps(gt, instance_set([]))
    assert aps.shape == (11, 3)
    np.testing.assert_array_equal(aps[0], [0, np.nan, np.nan])
    assert coco_scores(aps)["AP"] == 0
    nothing = instance_set([])
    assert set(coco_scores(class_aps(nothing, nothing)).values()) == {None}


def test_a_class_without_ground_truth_has_no_score():
    gt = instance_set([instance(1, "1100", 1), instance(2, "1100", 2, crowd=True)])
    aps = class_aps(gt, instance_set([instance(1, "1100", 1), instance(2, "1100", 3)]))
    np.testing.assert_allclose(aps[1], [1, np.nan, np.nan])


def test_ids_of_zero_are_ids():
    gt = instance_set([instance(0, "1100"), instance(1, "0011")])
    gt = replace(gt, images=[replace(gt.images[0], id=0)])
    pred = instance_set([instance(0, "1100", score=0.9), instance(1, "0011", score=0.8)])
    assert coco_scores(class_aps(gt, pred))["AP"] == pytest.approx(1)


def test_counts_may_be_text():
    def text(group):
        return [replace(i, rle=i.rle | {"counts": i.rle["counts"].decode()}) for i in group]

    gt, pred = random_pair(7, crowds=True)
    expected = coco_scores(class_aps(gt, pred))
    gt, pred = (replace(s, instances=[text(group) for group in s.instances]) for s in (gt, pred))
    assert coco_scores(class_aps(gt, pred)) == expected


def test_nothing_is_printed_and_nothing_is_changed(capfd):
    gt, pred = random_pair(3, crowds=True)
    before = copy.deepcopy((gt, pred))
    class_aps(gt, pred)
    assert capfd.readouterr() == ("", "")
    assert (gt, pred) == before


@pytest.mark.realdata
def test_equals_pycocotools_on_real_annotations(realdata, tmp_path):
    path = realdata / "coco" / "annotations" / "instances_val2017.json"
    dataset = json.loads(path.read_text())
    rng = np.random.default_rng(0)
    truth = read_ground_truth(path, "")
    ids = {label: category.id for label, category in enumerate(truth.categories, start=1)}
    results = []
    for image, group in zip(truth.images, truth.instances, strict=True):
        for each in group:
            x, y, w, h = codec.toBbox(each.rle)
            jitter = rng.normal(0, 0.1, 4) * [w, h, w, h]
            box = np.array([[x, y, max(w, 1), max(h, 1)]]) + jitter
            rle = codec.frPyObjects(box, image.height, image.width)[0]
            segmentation = {"size": rle["size"], "counts": rle["counts"].decode()}
            common = {"image_id": image.id, "category_id": ids[each.label]}
            score = float(rng.integers(1, 20) / 20)
            results.append(common | {"segmentation": segmentation, "score": score})
    (tmp_path / "results.json").write_text(json.dumps(results))
    pred = read_predictions(tmp_path / "results.json", truth)
    scores = coco_scores(class_aps(truth, pred))
    assert 0.05 < scores["AP"] < 0.9
    assert_equal(scores, reference(dataset, results))


@pytest.mark.parametrize("max_dets", [100, 500])
def test_a_crowded_image_equals_pycocotools_at_any_limit(max_dets):
    random = np.random.default_rng(0)
    masks = np.zeros((500, 50, 40), bool)
    for k in range(500):
        y, x = 2 * (k // 20), 2 * (k % 20)
        masks[k, y : y + 2, x : x + 2] = True
    codes = [codec.encode(np.asfortranarray(mask.astype(np.uint8))) for mask in masks]
    gt = instance_set([])
    image = replace(gt.images[0], height=50, width=40)
    truths = [Instance(k, 1, code) for k, code in enumerate(codes, 1)]
    moved = np.roll(masks, 1, axis=2)  # half of each lies on its neighbor
    guesses = [
        Instance(-1, 1, codes[k], score=float(random.random()))
        if random.random() < 0.7
        else Instance(
            -1,
            1,
            codec.encode(np.asfortranarray(moved[k].astype(np.uint8))),
            score=float(random.random()),
        )
        for k in range(500)
    ]
    gt = replace(gt, images=[image], instances=[truths])
    pred = replace(gt, instances=[guesses])
    scores = coco_scores(class_aps(gt, pred, max_dets=max_dets))
    assert_equal(scores, reference(*as_json(gt, pred), max_dets))
    assert (scores["AP50"] > 0.3) == (max_dets == 500)
