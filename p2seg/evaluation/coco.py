"""Average precision of COCO, by faster-coco-eval.

`COCOeval.summarize` finds thresholds by the equality of floats and knows .50 and .75 only, so the
scores are read from `eval["precision"]`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster
from pycocotools import mask as codec

from p2seg.data.coco import Instance, InstanceSet
from p2seg.evaluation.voc import THRESHOLDS, Float, mean
from p2seg.runtime.ranks import Ranks

IOU_THRESHOLDS: Float = np.concatenate([[0.25], np.linspace(0.5, 0.95, 10)])
"""The rows of `class_aps`: .25, then COCO's own ten."""
MAX_DETS = 100
"""Predictions of a class that COCO's protocol takes of an image, the best ones."""


class Crowded(NamedTuple):
    """Images that have more of a class than COCO's protocol takes.

    Attributes:
        images: how many there are.
        max_dets: the most predictions or ground truths of one class on one image.
    """

    images: int
    max_dets: int


def crowded(gt: InstanceSet, pred: InstanceSet) -> Crowded:
    """The images with more than `MAX_DETS` predictions or ground truths of one class.

    Args:
        gt: ground truth; its crowd regions do not count.
        pred: predictions for the same images, in the same order.
    """
    largest = []
    for truths, guesses in zip(gt.instances, pred.instances, strict=True):
        real = Counter(each.label for each in truths if not each.crowd)
        found = Counter(each.label for each in guesses)
        largest.append(max([*real.values(), *found.values()], default=0))
    return Crowded(sum(count > MAX_DETS for count in largest), max(largest, default=0))


def class_aps(
    gt: InstanceSet,
    pred: InstanceSet,
    *,
    scores_one: bool = False,
    ranks: Ranks | None = None,
    max_dets: int = MAX_DETS,
) -> Float:
    """AP of each class at each of `IOU_THRESHOLDS`, over objects of all sizes.

    As in COCO's own evaluation an image counts the 100 best predictions of a class, and one that
    lies in a crowd region of its class counts neither for nor against.

    Args:
        gt: ground truth with its crowds.
        pred: predictions for the same images and classes, in the same order.
        scores_one: rank the predictions as if every score were 1 (a tie is in the file's order).
        ranks: that share the classes; None: this process alone.
        max_dets: predictions of a class that an image counts, the best ones; COCO's own are 100.

    Returns:
        `[11, C]` float64 in 0..1; NaN for a class whose only ground truths are crowds, or none.
    """
    ranks = ranks or Ranks()
    labels = ranks.share(range(1, len(gt.categories) + 1))
    own = _aps(_of_classes(gt, labels), _of_classes(pred, labels), scores_one, max_dets)
    columns = ranks.merged([own[:, label - 1] for label in labels])
    return np.stack(columns, 1) if columns else np.full((len(IOU_THRESHOLDS), 0), np.nan)


def _of_classes(instances: InstanceSet, labels: Sequence[int]) -> InstanceSet:
    """The instances of some classes."""
    if len(labels) == len(instances.categories):
        return instances
    wanted = frozenset(labels)
    kept = [[each for each in own if each.label in wanted] for own in instances.instances]
    return replace(instances, instances=kept)


def _aps(gt: InstanceSet, pred: InstanceSet, scores_one: bool, max_dets: int) -> Float:
    """Those of `class_aps`, NaN also for classes that neither set has."""
    aps: Float = np.full((len(IOU_THRESHOLDS), len(gt.categories)), np.nan)
    real = [truth.label for truths in gt.instances for truth in truths if not truth.crowd]
    if not real or not any(pred.instances):  # some releases of the evaluator take no empty list
        aps[:, [label - 1 for label in real]] = 0.0
        return aps
    truth = COCO(_dataset(gt))
    evaluator = COCOeval_faster(truth, truth.loadRes(_results(pred, scores_one)), "segm")
    evaluator.params.iouThrs = IOU_THRESHOLDS
    evaluator.params.maxDets = [max_dets]
    evaluator.params.areaRng = evaluator.params.areaRng[:1]  # the first is "all"
    evaluator.params.areaRngLbl = evaluator.params.areaRngLbl[:1]
    evaluator.evaluate()
    evaluator.accumulate()
    precision = np.asarray(evaluator.eval["precision"])  # [T, recall, C, area, most detections]
    # recalls last: the mean of a class must not depend on how many classes lie beside it
    precision = np.ascontiguousarray(precision[:, :, :, 0, -1].transpose(0, 2, 1))
    with_truth = (precision != -1).all(axis=2)
    aps[with_truth] = precision[with_truth].mean(axis=1)
    return aps


def coco_scores(aps: Float) -> dict[str, float | None]:
    """`{"AP", "AP25", "AP50", "AP70", "AP75"}` of `class_aps`; AP is over .50:.05:.95."""
    scores = {"AP": mean(aps[1:])}
    for name, threshold in THRESHOLDS.items():
        scores[f"AP{name}"] = mean(aps[row_of(threshold)])
    return scores


def row_of(threshold: float) -> int:
    """The row of `class_aps` of an IoU threshold."""
    return int(np.abs(IOU_THRESHOLDS - threshold).argmin())


def _dataset(gt: InstanceSet) -> dict[str, Any]:
    """The ground truth as the evaluator wants it; ids are numbered anew, from 1.

    An annotation of id 0 would be taken for "unmatched" by every COCO evaluator.
    """
    annotations: list[dict[str, Any]] = []
    for image, truths in enumerate(gt.instances, start=1):
        for truth in truths:
            mask = _annotation(image, truth)
            area = int(codec.area(truth.rle))
            crowd = int(truth.crowd)
            annotations.append(mask | {"id": len(annotations) + 1, "area": area, "iscrowd": crowd})
    return {
        "images": [
            {"id": k, "height": image.height, "width": image.width}
            for k, image in enumerate(gt.images, start=1)
        ],
        "categories": [{"id": k, "name": c.name} for k, c in enumerate(gt.categories, start=1)],
        "annotations": annotations,
    }


def _results(pred: InstanceSet, scores_one: bool) -> list[dict[str, Any]]:
    return [
        _annotation(image, guess) | {"score": 1.0 if scores_one else float(guess.score)}
        for image, guesses in enumerate(pred.instances, start=1)
        for guess in guesses
    ]


def _annotation(image: int, instance: Instance) -> dict[str, Any]:
    counts = instance.rle["counts"]
    text = counts.decode() if isinstance(counts, bytes) else counts
    return {
        "image_id": image,
        "category_id": instance.label,
        "segmentation": {"size": list(instance.rle["size"]), "counts": text},
    }
