"""Measures for cell nuclei: the aggregated Jaccard index (AJI) and panoptic quality (PQ)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from p2seg.data import rle as codec
from p2seg.data.coco import Instance, InstanceSet
from p2seg.evaluation.voc import iou_matrix
from p2seg.runtime.ranks import Ranks

MATCHED = 0.5
"""The IoU that a match of PQ must exceed."""

Float = NDArray[np.float64]


def matching(
    gt: InstanceSet, pred: InstanceSet, least_score: float | None, ranks: Ranks | None = None
) -> dict[str, Any]:
    """AJI and PQ of each image, then the mean over images.

    A mask is only compared with masks of its own class. Crowds are not instances. An image
    without instances and without predictions is skipped.

    Args:
        gt: ground truth.
        pred: predictions for the same images and classes, in the same order.
        least_score: predictions with a lower score are not used; None: all are.
        ranks: that share the images; None: this process alone.

    Returns:
        `AJI` and `PQ`, fractions 0..1, None without images; `images`, how many the means are of;
        `least_score`.
    """
    ranks = ranks or Ranks()
    pairs = list(zip(gt.instances, pred.instances, strict=True))
    made = [_image(*pair, least_score) for pair in ranks.share(pairs)]
    scores = [each for each in ranks.merged(made) if each is not None]
    means = np.mean(scores, axis=0).tolist() if scores else (None, None)
    return {
        "AJI": means[0],
        "PQ": means[1],
        "images": len(scores),
        "least_score": least_score,
    }


def _image(
    truths: Sequence[Instance], guesses: Sequence[Instance], least_score: float | None
) -> tuple[float, float] | None:
    """AJI and PQ of an image; None if it has neither instances nor predictions."""
    truths = [each for each in truths if not each.crowd]
    if least_score is not None:
        guesses = [each for each in guesses if each.score >= least_score]
    if not truths and not guesses:
        return None
    iou = iou_matrix(truths, guesses)
    iou *= np.equal.outer([each.label for each in truths], [each.label for each in guesses])
    areas = [np.array([codec.area(each.rle) for each in some]) for some in (truths, guesses)]
    return aggregated_jaccard(iou, *areas), panoptic_quality(iou)


def aggregated_jaccard(iou: Float, true_areas: NDArray[Any], areas: NDArray[Any]) -> float:
    """The aggregated Jaccard index of an image (Kumar et al. 2017).

    Each true mask takes the predicted mask of largest IoU. The index is the sum of their
    intersections over the sum of their unions and of the areas of predictions that nothing took.
    Several true masks can take the same prediction.

    Args:
        iou: `[T, P]` IoU of T true and P predicted masks.
        true_areas: `[T]` pixels.
        areas: `[P]` pixels.

    Returns:
        A fraction 0..1; 0 if all masks are empty.
    """
    best = iou.max(1, initial=0.0)
    taken = best > 0
    partner = iou.argmax(1)[taken] if iou.size else np.zeros(0, np.int64)
    together = true_areas.astype(np.float64)
    together[taken] += areas[partner]
    common = best * together / (1 + best)  # of IoU = common / (together - common)
    left = np.delete(areas, partner).sum()
    union = (together - common).sum() + left
    return float(common.sum() / union) if union else 0.0


def panoptic_quality(iou: Float) -> float:
    """The panoptic quality of an image (Kirillov et al. 2019).

    Masks match one to one with an IoU above 0.5. If masks overlap, so that several assignments
    are possible, the one with the largest sum of IoU counts.

    Args:
        iou: `[T, P]` IoU of T true and P predicted masks, T + P > 0.

    Returns:
        The sum of the matches' IoU over the number of matches and half of the number of masks
        without a match, 0..1.
    """
    good = np.where(iou > MATCHED, iou, 0.0)
    found = good[linear_sum_assignment(good, maximize=True)]
    # matches + (true masks and predictions without a match) / 2
    return float(found.sum() / (sum(iou.shape) / 2))
