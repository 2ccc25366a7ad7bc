"""Average precision of VOC, over the area and at eleven points, on run-length codes.

The definition is that of IRN's and BESTIE's evaluator with its unstable sort made stable. It can
be told in two steps: an image says of each prediction which ground truth it overlaps most and how
much (`overlaps`); the whole set is then ranked by score, and a ground truth is found by the first
prediction in the ranking that names it with enough IoU (`precision_recall`).
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
"""The IoU thresholds every score is given at, by their names."""


@dataclass(frozen=True)
class Overlaps:
    """What AP needs to know of one class over a set: three numbers a prediction (there are P).

    Attributes:
        positives: ground truths of the class; crowds are none.
        scores: `[P]` float64, image by image, in the file's order.
        iou: `[P]` float32, the largest IoU with a ground truth of the class in the image.
        owner: `[P]` int64, that ground truth, numbered over the set (the first on a tie);
            -1 where the image has none.
    """

    positives: int
    scores: Float
    iou: NDArray[np.float32]
    owner: NDArray[np.int64]


def overlaps(gt: InstanceSet, pred: InstanceSet, ranks: Ranks | None = None) -> list[Overlaps]:
    """Finds for each prediction the ground truth of its class and image that it overlaps most.

    No mask is decoded, and of an image only three numbers a prediction are kept.

    Args:
        gt: ground truth; crowds are left out.
        pred: predictions for the same images and classes, in the same order (see
            `p2seg.evaluation.readers.align`).
        ranks: that share the images; None: this process alone.

    Returns:
        One `Overlaps` a class.
    """
    ranks = ranks or Ranks()
    found: list[list[tuple[float, float, int]]] = [[] for _ in gt.categories]
    positives = [0] * len(gt.categories)
    share = ranks.share(range(len(gt.images)))
    for of_image in ranks.merged([_of_image(gt.instances[i], pred.instances[i]) for i in share]):
        for label, (count, rows) in of_image.items():
            before = positives[label - 1]
            found[label - 1] += [
                (score, iou, before + own if own >= 0 else -1) for score, iou, own in rows
            ]
            positives[label - 1] += count
    return [_overlaps(*of_class) for of_class in zip(positives, found, strict=True)]


def _of_image(
    truths: Sequence[Instance], guesses: Sequence[Instance]
) -> dict[int, tuple[int, list[tuple[float, float, int]]]]:
    """For each class of an image: its ground truths, and score, IoU and owner of its predictions.

    An owner is numbered in the image; -1 where there is none.
    """
    solid = [truth for truth in truths if not truth.crowd]
    made = {}
    for label in {each.label for each in [*solid, *guesses]}:
        owners = [truth for truth in solid if truth.label == label]
        rivals = [guess for guess in guesses if guess.label == label]
        iou = iou_matrix(rivals, owners).astype(np.float32)
        rows = []
        for guess, row in zip(rivals, iou, strict=True):
            best = int(row.argmax()) if len(owners) else -1
            rows.append((guess.score, float(row[best]) if len(owners) else 0.0, best))
        made[label] = (len(owners), rows)
    return made


def _overlaps(positives: int, rows: list[tuple[float, float, int]]) -> Overlaps:
    scores, iou, owner = zip(*rows, strict=True) if rows else ((), (), ())
    return Overlaps(
        positives=positives,
        scores=np.array(scores, np.float64),
        iou=np.array(iou, np.float32),
        owner=np.array(owner, np.int64),
    )


def iou_matrix(first: Sequence[Instance], second: Sequence[Instance]) -> Float:
    """IoU of every mask of one list with every mask of another, all of one image.

    Args:
        first: A instances.
        second: B instances; also a crowd is a mask like any other.

    Returns:
        `[A, B]` float64; 0 where both masks are empty.
    """
    return codec.iou_matrix([a.rle for a in first], [b.rle for b in second])


def precision_recall(overlaps: Overlaps, threshold: float) -> tuple[Float, Float]:
    """Precision and recall after each prediction of the ranking.

    Args:
        overlaps: of one class, with at least one ground truth.
        threshold: least IoU of a hit, above 0; an IoU that equals it in float32 is a hit.

    Returns:
        Two arrays `[P]` in 0..1.
    """
    order = np.argsort(-overlaps.scores, kind="stable")
    reaching = np.flatnonzero(overlaps.iou[order] >= np.float32(threshold))
    _, first = np.unique(overlaps.owner[order][reaching], return_index=True)
    hit = np.zeros(len(order), np.int64)
    hit[reaching[first]] = 1  # later ones name a ground truth that is taken: misses
    found = hit.cumsum()
    return found / np.arange(1, len(order) + 1), found / overlaps.positives


def area_ap(precision: Float, recall: Float) -> float:
    """Area under the envelope of precision (`voc_area`); both arguments `[P]`."""
    envelope = np.concatenate([[0.0], precision, [0.0]])
    envelope = np.maximum.accumulate(envelope[::-1])[::-1]
    steps = np.diff(np.concatenate([[0.0], recall, [1.0]]))
    return float((steps * envelope[1:]).sum())


def eleven_point_ap(precision: Float, recall: Float) -> float:
    """Mean over the recalls 0, .1 .. 1 of the best precision from there on (`voc_11pt`)."""
    # k / 10 and hits / positives are rounded alike, so that a recall of 3 in 10 reaches .3;
    # np.arange(0, 1.1, 0.1) would ask for .30000000000000004
    points = np.arange(11) / 10
    return float(np.mean([precision[recall >= t].max(initial=0.0) for t in points]))


MEASURES: dict[str, Callable[[Float, Float], float]] = {
    "voc_area": area_ap,
    "voc_11pt": eleven_point_ap,
}


def class_aps(overlaps: list[Overlaps], threshold: float, measure: str) -> Float:
    """AP of each class at one IoU threshold.

    Args:
        overlaps: one a class.
        threshold: least IoU of a hit.
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
    """The mean of the values that are not NaN; None (JSON's null) where there is none."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if defined.size else None


def voc_scores(overlaps: list[Overlaps]) -> dict[str, dict[str, float | None]]:
    """mAP by both measures at all thresholds: `{"voc_area": {"mAP25", ...}, "voc_11pt": ...}`."""
    return {
        measure: {
            f"mAP{name}": mean(class_aps(overlaps, threshold, measure))
            for name, threshold in THRESHOLDS.items()
        }
        for measure in MEASURES
    }
