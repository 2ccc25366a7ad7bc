"""All scores of one file of predictions, as in `metrics.json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from p2seg.data.coco import InstanceSet
from p2seg.errors import UserError
from p2seg.evaluation import coco, voc
from p2seg.evaluation.matching import matching
from p2seg.evaluation.quality import quality
from p2seg.evaluation.readers import align, read_ground_truth, read_predictions
from p2seg.evaluation.semantic import masks_miou
from p2seg.evaluation.void import without_void
from p2seg.runtime import files
from p2seg.runtime.ranks import Ranks

__all__ = ["Kind", "evaluate", "evaluate_files", "from_oracle", "saw_masks"]

Kind = Literal["pseudo", "model"]
"""Pseudo masks of training images, made with the points, or a model's predictions without them."""

LEAST_SCORE: dict[Kind, float | None] = {"pseudo": None, "model": 0.5}
"""Minimum score of a mask for AJI and PQ, which do not rank masks; None: all masks."""


def evaluate(
    gt: InstanceSet, pred: InstanceSet, kind: Kind, ranks: Ranks | None = None
) -> dict[str, Any]:
    """Scores predictions by three definitions of AP, by AJI and PQ, and pseudo masks by quality.

    Args:
        gt: ground truth.
        pred: predictions, in any order of images and classes.
        kind: kind of predictions. Scores of the two kinds are not comparable.
        ranks: the ranks that share the images and classes, and get the same scores; None: this
            process alone.

    Returns:
        `voc_area` and `voc_11pt` (`mAP25`, `mAP50`, `mAP70`, `mAP75`), `coco` (`AP`, `AP25`,
        `AP50`, `AP70`, `AP75`), `scores_one` (the same three with every score set to 1),
        `per_class` (AP50 by each definition), `matching` (`AJI` and `PQ` of all pseudo masks, or
        of a model's masks with a score of 0.5 or more; see `p2seg.evaluation.matching`), `quality`
        (only for pseudo masks; see `p2seg.evaluation.quality`, and `miou` of the masks' class map)
        and `run`.
        If images have more than 100 predictions or ground truths of a class, `coco_all` is `coco`
        at the limit `max_dets` that includes all. `scores_one` and `per_class` also have it.
        Scores are fractions 0..1, None (JSON's null) without ground truth.

    Raises:
        UserError: the sets do not match, or `kind` is unknown.
    """
    if kind not in get_args(Kind):
        raise UserError(f"kind={kind} is unknown; choose pseudo (with points) or model (without)")
    pred = align(gt, pred)
    overlaps = voc.overlaps(gt, pred, ranks)
    aps = coco.class_aps(gt, pred, ranks=ranks)
    unranked = [replace(each, scores=np.ones_like(each.scores)) for each in overlaps]
    unranked_aps = coco.class_aps(gt, pred, scores_one=True, ranks=ranks)
    metrics: dict[str, Any] = {
        **voc.voc_scores(overlaps),
        "coco": coco.coco_scores(aps),
        "scores_one": {**voc.voc_scores(unranked), "coco": coco.coco_scores(unranked_aps)},
        "per_class": _per_class(gt, overlaps, {"coco": aps}),
        "matching": matching(gt, pred, LEAST_SCORE[kind], ranks),
    }
    crowded = coco.crowded(gt, pred)
    if crowded.images:
        most = crowded.max_dets
        aps_all = coco.class_aps(gt, pred, ranks=ranks, max_dets=most)
        unranked_all = coco.class_aps(gt, pred, scores_one=True, ranks=ranks, max_dets=most)
        metrics["coco_all"] = {**coco.coco_scores(aps_all), **crowded._asdict()}
        metrics["scores_one"]["coco_all"] = coco.coco_scores(unranked_all)
        metrics["per_class"] = _per_class(gt, overlaps, {"coco": aps, "coco_all": aps_all})
    if kind == "pseudo":
        metrics["quality"] = {**quality(gt, pred, ranks), "miou": masks_miou(gt, pred, ranks)}
    metrics["run"] = {
        "kind": kind,
        "points_given": kind == "pseudo",
        "oracle": from_oracle(pred.info),
        "mask_pretraining": saw_masks(pred.info),
        "images": len(gt.images),
        "instances": sum(each.positives for each in overlaps),
        "predictions": sum(map(len, pred.instances)),
        "gt_info": gt.info,
        "pred_info": pred.info,
    }
    return metrics


def evaluate_files(
    gt_path: Path,
    pred_path: Path,
    kind: Kind,
    *,
    split: str = "val",
    ignore_void: bool = False,
    ranks: Ranks | None = None,
) -> dict[str, Any]:
    """Reads a ground truth and predictions, and scores them.

    Args:
        gt_path: a COCO file, or a VOC year's folder.
        pred_path: a COCO results list, or a COCO file such as the pseudo masks of p2seg.
        kind: see `evaluate`.
        split: the split of a VOC folder.
        ignore_void: add `void_ignored`: `voc_area` and `voc_11pt` without VOC's void pixels.
        ranks: see `evaluate`.

    Returns:
        The result of `evaluate`, with the files' names and SHA-256 in `run`. For a folder, the
        SHA-256 is that of its list of images.

    Raises:
        UserError: a file is unreadable, the two do not match, or `ignore_void` is set for a ground
            truth without void pixels.
    """
    in_folder = gt_path.is_dir()
    if ignore_void and not in_folder:
        raise UserError(
            f"void=ignore needs the PNGs of a VOC folder, but gt={gt_path} is not a folder; "
            "give gt=VOCdevkit/VOC2012 or void=count"
        )
    gt = read_ground_truth(gt_path, split)
    pred = read_predictions(pred_path, gt)
    metrics = evaluate(gt, pred, kind, ranks)
    if ignore_void:
        decided = without_void(pred, gt_path, ranks)
        metrics["void_ignored"] = voc.voc_scores(voc.overlaps(gt, decided, ranks))
    metrics["run"] |= {
        "gt": gt_path.name,
        "gt_sha256": gt.info["list_sha256"] if in_folder else files.sha256(gt_path),
        "split": gt.info.get("split", gt_path.stem),
        "pred": pred_path.name,
        "pred_sha256": files.sha256(pred_path),
    }
    return metrics


def from_oracle(info: Any) -> bool:
    """Whether the provenance contains semantic maps from ground truth, at any depth."""
    if isinstance(info, Mapping):
        return any(from_oracle(value) for value in info.values())
    if isinstance(info, list):
        return any(map(from_oracle, info))
    return bool(info == "oracle")


def saw_masks(info: Any) -> bool:
    """Whether the provenance contains a segmentor that may start from weights of masks."""
    if isinstance(info, Mapping):
        keys = ("mask_pretraining", "allow_mask_pretraining")
        return any(info.get(key) is True for key in keys) or any(map(saw_masks, info.values()))
    return isinstance(info, list) and any(map(saw_masks, info))


def _per_class(
    gt: InstanceSet, overlaps: list[voc.Overlaps], aps: dict[str, NDArray[np.float64]]
) -> dict[str, dict[str, float | None]]:
    """AP50 of each class by VOC's two definitions, and by COCO's definition in `aps`."""
    columns = {measure: voc.class_aps(overlaps, 0.5, measure) for measure in voc.MEASURES}
    columns |= {name: own[coco.row_of(0.5)] for name, own in aps.items()}
    return {
        category.name: {name: voc.mean(column[k : k + 1]) for name, column in columns.items()}
        for k, category in enumerate(gt.categories)
    }
