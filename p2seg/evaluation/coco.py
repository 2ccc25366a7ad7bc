"""COCO's average precision, computed by faster-coco-eval.

`COCOeval.summarize` compares thresholds as floats and supports 0.50 and 0.75 only, so the scores
are read from `eval["precision"]`.
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
"""The rows of `class_aps`: 0.25, then COCO's ten thresholds."""
MAX_DETS = 100
"""COCO's limit of predictions per class and image, by score."""


class Crowded(NamedTuple):
    """Images that exceed COCO's limit of predictions.

    Attributes:
        images: number of such images.
        max_dets: largest number of predictions or ground truths of one class in an image.
    """

    images: int
    max_dets: int


def crowded(gt: InstanceSet, pred: InstanceSet) -> Crowded:
    """The images with more than `MAX_DETS` predictions or ground truths of one class.

    Args:
        gt: ground truth, whose crowd regions do not count.
        pred: predictions for the same images, in the same order.
    """
    largest = []
    for truths, guesses in zip(gt.instances, pred.instances, strict=True):
        objects = Counter(each.label for each in truths if not each.crowd)
        predictions = Counter(each.label for each in guesses)
        largest.append(max([*objects.values(), *predictions.values()], default=0))
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

    As in COCO's evaluation, only the 100 best predictions per class and image count, and
    predictions in a crowd region of their class are ignored.

    Args:
        gt: ground truth with its crowds.
        pred: predictions for the same images and classes, in the same order.
        scores_one: rank the predictions as if every score were 1, in the file's order.
        ranks: the ranks that share the classes; None: this process alone.
        max_dets: limit of predictions per class and image, by score.

    Returns:
        `[11, C]` float64 in 0..1; NaN for a class without ground truth other than crowds.
    """
    ranks = ranks or Ranks()
    labels = ranks.share(range(1, len(gt.categories) + 1))
    own = _aps(_of_classes(gt, labels), _of_classes(pred, labels), scores_one, max_dets)
    columns = ranks.merged([own[:, label - 1] for label in labels])
    return np.stack(columns, 1) if columns else np.full((len(IOU_THRESHOLDS), 0), np.nan)


def _of_classes(instances: InstanceSet, labels: Sequence[int]) -> InstanceSet:
    if len(labels) == len(instances.categories):
        return instances
    selected = frozenset(labels)
    kept = [[each for each in own if each.label in selected] for own in instances.instances]
    return replace(instances, instances=kept)


def _aps(gt: InstanceSet, pred: InstanceSet, scores_one: bool, max_dets: int) -> Float:
    """`class_aps` in this process, with NaN also for classes that neither set has."""
    aps: Float = np.full((len(IOU_THRESHOLDS), len(gt.categories)), np.nan)
    objects = [truth.label for truths in gt.instances for truth in truths if not truth.crowd]
    if not objects or not any(pred.instances):  # some versions of the evaluator fail on empty lists
        aps[:, [label - 1 for label in objects]] = 0.0
        return aps
    truth = COCO(_dataset(gt))
    evaluator = COCOeval_faster(truth, truth.loadRes(_results(pred, scores_one)), "segm")
    evaluator.params.iouThrs = IOU_THRESHOLDS
    evaluator.params.maxDets = [max_dets]
    evaluator.params.areaRng = evaluator.params.areaRng[:1]  # the first is "all"
    evaluator.params.areaRngLbl = evaluator.params.areaRngLbl[:1]
    evaluator.evaluate()
    evaluator.accumulate()
    precision = np.asarray(evaluator.eval["precision"])  # [T, recall, C, area, max detections]
    # Recalls come last, so that rounding of a class's mean does not depend on the other classes.
    precision = np.ascontiguousarray(precision[:, :, :, 0, -1].transpose(0, 2, 1))
    with_truth = (precision != -1).all(axis=2)
    aps[with_truth] = precision[with_truth].mean(axis=1)
    return aps


def coco_scores(aps: Float) -> dict[str, float | None]:
    """`{"AP", "AP25", "AP50", "AP70", "AP75"}` of `class_aps`; AP is over 0.50:0.05:0.95."""
    scores = {"AP": mean(aps[1:])}
    for name, threshold in THRESHOLDS.items():
        scores[f"AP{name}"] = mean(aps[row_of(threshold)])
    return scores


def row_of(threshold: float) -> int:
    """The row of an IoU threshold in `class_aps`."""
    return int(np.abs(IOU_THRESHOLDS - threshold).argmin())


def _dataset(gt: InstanceSet) -> dict[str, Any]:
    """The ground truth in the evaluator's structure, with ids from 1.

    COCO evaluators treat an annotation with id 0 as "unmatched".
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
