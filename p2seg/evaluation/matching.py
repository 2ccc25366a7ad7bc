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
"""A match of PQ must have a higher IoU."""

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
        least_score: minimum score of a prediction; None: all count.
        ranks: the ranks that share the images; None: this process alone.

    Returns:
        `AJI` and `PQ`, fractions 0..1, None without images; `images`, the number of images in the
        means; `least_score`.
    """
    ranks = ranks or Ranks()
    pairs = list(zip(gt.instances, pred.instances, strict=True))
    share = [_image(*pair, least_score) for pair in ranks.share(pairs)]
    scores = [each for each in ranks.merged(share) if each is not None]
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
    areas = [np.array([codec.area(each.rle) for each in masks]) for masks in (truths, guesses)]
    return aggregated_jaccard(iou, *areas), panoptic_quality(iou)


def aggregated_jaccard(iou: Float, true_areas: NDArray[Any], areas: NDArray[Any]) -> float:
    """The aggregated Jaccard index of an image (Kumar et al. 2017).

    Each true mask is matched to the predicted mask with the largest IoU. The index is the sum of
    the intersections over the sum of the unions and of the areas of unmatched predictions. Several
    true masks can match the same prediction.

    Args:
        iou: `[T, P]` IoU of T true and P predicted masks.
        true_areas: `[T]` pixels.
        areas: `[P]` pixels.

    Returns:
        A fraction 0..1; 0 if all masks are empty.
    """
    best = iou.max(1, initial=0.0)
    matched = best > 0
    partner = iou.argmax(1)[matched] if iou.size else np.zeros(0, np.int64)
    total = true_areas.astype(np.float64)
    total[matched] += areas[partner]
    intersection = best * total / (1 + best)  # from IoU = intersection / (total - intersection)
    unmatched = np.delete(areas, partner).sum()
    union = (total - intersection).sum() + unmatched
    return float(intersection.sum() / union) if union else 0.0


def panoptic_quality(iou: Float) -> float:
    """The panoptic quality of an image (Kirillov et al. 2019).

    Masks match one to one with an IoU above 0.5. If overlapping masks allow several assignments,
    the one with the largest sum of IoU counts.

    Args:
        iou: `[T, P]` IoU of T true and P predicted masks, T + P > 0.

    Returns:
        The sum of the matches' IoU over the number of matches plus half of the number of
        unmatched masks, 0..1.
    """
    allowed = np.where(iou > MATCHED, iou, 0.0)
    matches = allowed[linear_sum_assignment(allowed, maximize=True)]
    # Matches + unmatched masks / 2 = all masks / 2.
    return float(matches.sum() / (sum(iou.shape) / 2))
