"""VOC's average precision, over the area and at eleven points, on run-length codes.

The definition is that of IRN's and BESTIE's evaluator, with a stable sort. It has two steps. In
each image, `overlaps` finds the ground truth that each prediction overlaps most. Over the whole
set, `precision_recall` ranks the predictions by score. The first prediction in the ranking with
enough IoU detects the ground truth.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from p2seg.data import rle as codec
from p2seg.data.coco import Instance, InstanceSet
from p2seg.runtime.ranks import Ranks

Float = NDArray[np.float64]

THRESHOLDS = {"25": 0.25, "50": 0.50, "70": 0.70, "75": 0.75}
"""The IoU thresholds of all scores by name."""


@dataclass(frozen=True)
class Overlaps:
    """The P predictions of one class in a data set, as input of AP.

    Attributes:
        positives: number of ground truths of the class, without crowds.
        scores: `[P]` float64, in the order of images and of the file.
        iou: `[P]` float32, the largest IoU with a ground truth of the class in the image.
        owner: `[P]` int64, the number of that ground truth in the data set (the first on a tie);
            -1 if the image has none.
    """

    positives: int
    scores: Float
    iou: NDArray[np.float32]
    owner: NDArray[np.int64]


def overlaps(gt: InstanceSet, pred: InstanceSet, ranks: Ranks | None = None) -> list[Overlaps]:
    """Finds the ground truth of its class and image that each prediction overlaps most.

    No mask is decoded, and only three numbers per prediction are kept.

    Args:
        gt: ground truth. Crowds are skipped.
        pred: predictions for the same images and classes, in the same order (see
            `p2seg.evaluation.readers.align`).
        ranks: the ranks that share the images; None: this process alone.

    Returns:
        One `Overlaps` per class.
    """
    ranks = ranks or Ranks()
    all_rows: list[list[tuple[float, float, int]]] = [[] for _ in gt.categories]
    positives = [0] * len(gt.categories)
    share = ranks.share(range(len(gt.images)))
    for of_image in ranks.merged([_of_image(gt.instances[i], pred.instances[i]) for i in share]):
        for label, (count, rows) in of_image.items():
            first = positives[label - 1]
            all_rows[label - 1] += [
                (score, iou, first + own if own >= 0 else -1) for score, iou, own in rows
            ]
            positives[label - 1] += count
    return [_overlaps(*of_class) for of_class in zip(positives, all_rows, strict=True)]


def _of_image(
    truths: Sequence[Instance], guesses: Sequence[Instance]
) -> dict[int, tuple[int, list[tuple[float, float, int]]]]:
    """For each class, the count of ground truths, and score, IoU and owner of its predictions.

    An owner is a number in the image, or -1 without ground truth.
    """
    truths = [truth for truth in truths if not truth.crowd]
    classes = {}
    for label in {each.label for each in [*truths, *guesses]}:
        owners = [truth for truth in truths if truth.label == label]
        predictions = [guess for guess in guesses if guess.label == label]
        iou = iou_matrix(predictions, owners).astype(np.float32)
        rows = []
        for guess, row in zip(predictions, iou, strict=True):
            best = int(row.argmax()) if len(owners) else -1
            rows.append((guess.score, float(row[best]) if len(owners) else 0.0, best))
        classes[label] = (len(owners), rows)
    return classes


def _overlaps(positives: int, rows: list[tuple[float, float, int]]) -> Overlaps:
    scores, iou, owner = zip(*rows, strict=True) if rows else ((), (), ())
    return Overlaps(
        positives=positives,
        scores=np.array(scores, np.float64),
        iou=np.array(iou, np.float32),
        owner=np.array(owner, np.int64),
    )


def iou_matrix(first: Sequence[Instance], second: Sequence[Instance]) -> Float:
    """IoU `[A, B]` of two lists of instances of one image; 0 if both masks are empty."""
    return codec.iou_matrix([a.rle for a in first], [b.rle for b in second])


def precision_recall(overlaps: Overlaps, threshold: float) -> tuple[Float, Float]:
    """Precision and recall after each prediction of the ranking.

    Args:
        overlaps: predictions of one class with at least one ground truth.
        threshold: minimum IoU of a hit, above 0. An IoU equal in float32 is a hit.

    Returns:
        Two arrays `[P]` in 0..1.
    """
    order = np.argsort(-overlaps.scores, kind="stable")
    reaching = np.flatnonzero(overlaps.iou[order] >= np.float32(threshold))
    _, first = np.unique(overlaps.owner[order][reaching], return_index=True)
    hit = np.zeros(len(order), np.int64)
    hit[reaching[first]] = 1  # further predictions of the same ground truth are misses
    hits = hit.cumsum()
    return hits / np.arange(1, len(order) + 1), hits / overlaps.positives


def area_ap(precision: Float, recall: Float) -> float:
    """Area under the envelope of the precision (`voc_area`); both arguments `[P]`."""
    envelope = np.concatenate([[0.0], precision, [0.0]])
    envelope = np.maximum.accumulate(envelope[::-1])[::-1]
    steps = np.diff(np.concatenate([[0.0], recall, [1.0]]))
    return float((steps * envelope[1:]).sum())


def eleven_point_ap(precision: Float, recall: Float) -> float:
    """Mean over recalls 0, 0.1, .., 1 of the best precision from that recall on (`voc_11pt`)."""
    # k / 10 is rounded like hits / positives, so that a recall of 3 in 10 reaches 0.3.
    # np.arange(0, 1.1, 0.1) has 0.30000000000000004 instead.
    points = np.arange(11) / 10
    return float(np.mean([precision[recall >= t].max(initial=0.0) for t in points]))


MEASURES: dict[str, Callable[[Float, Float], float]] = {
    "voc_area": area_ap,
    "voc_11pt": eleven_point_ap,
}


def class_aps(overlaps: list[Overlaps], threshold: float, measure: str) -> Float:
    """AP of each class at one IoU threshold.

    Args:
        overlaps: one per class.
        threshold: minimum IoU of a hit.
        measure: a key of `MEASURES`.

    Returns:
        `[C]` in 0..1; NaN for a class without ground truth, 0 for one without predictions.
    """
    return np.array(
        [
            MEASURES[measure](*precision_recall(each, threshold)) if each.positives else np.nan
            for each in overlaps
        ]
    )


def mean(values: Float) -> float | None:
    """The mean of the values that are not NaN, or None (JSON's null) without such a value."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if defined.size else None


def voc_scores(overlaps: list[Overlaps]) -> dict[str, dict[str, float | None]]:
    """mAP by both measures at all thresholds: `{"voc_area": {"mAP25": ...}, "voc_11pt": ...}`."""
    return {
        measure: {
            f"mAP{name}": mean(class_aps(overlaps, threshold, measure))
            for name, threshold in THRESHOLDS.items()
        }
        for measure in MEASURES
    }
