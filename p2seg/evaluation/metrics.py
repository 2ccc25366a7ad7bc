"""All scores of one file of predictions: what `metrics.json` holds."""

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
"""Pseudo masks of training images, made with the points, or a model's answers without points."""

LEAST_SCORE: dict[Kind, float | None] = {"pseudo": None, "model": 0.5}
"""The lowest score of a mask that counts for AJI and PQ, which do not rank masks; None: all."""


def evaluate(
    gt: InstanceSet, pred: InstanceSet, kind: Kind, ranks: Ranks | None = None
) -> dict[str, Any]:
    """Scores predictions by the three definitions of AP and, pseudo masks, by their quality.

    Args:
        gt: ground truth.
        pred: predictions for it, in any order of images and classes.
        kind: which kind of score this is; the two stand in no common table.
        ranks: that share the images and the classes, and get the same scores; None: this process
            alone.

    Returns:
        `voc_area` and `voc_11pt` (`mAP25`, `mAP50`, `mAP70`, `mAP75`), `coco` (`AP`, `AP25`,
        `AP50`, `AP70`, `AP75`), `scores_one` (those three again as if every score were 1),
        `per_class` (AP50 by each definition), `matching` (`AJI` and `PQ`, of all pseudo masks or
        of a model's masks from score 0.5; see `p2seg.evaluation.matching`), `quality` (kind
        pseudo only; see `p2seg.evaluation.quality`; and `miou` of the class map that the masks
        make) and `run`.
        If `images` images have more than 100 predictions or ground truths of a class, `coco_all`
        is `coco` at the limit `max_dets` that takes all; `scores_one` and `per_class` have it, too.
        Scores are fractions 0..1, None (JSON's null) where there is no ground truth.

    Raises:
        UserError: the sets do not belong together, or `kind` is none of the two.
    """
    if kind not in get_args(Kind):
        raise UserError(f"kind={kind} is unknown; choose pseudo (with points) or model (without)")
    pred = align(gt, pred)
    found = voc.overlaps(gt, pred, ranks)
    aps = coco.class_aps(gt, pred, ranks=ranks)
    level = [replace(each, scores=np.ones_like(each.scores)) for each in found]
    level_aps = coco.class_aps(gt, pred, scores_one=True, ranks=ranks)
    metrics: dict[str, Any] = {
        **voc.voc_scores(found),
        "coco": coco.coco_scores(aps),
        "scores_one": {**voc.voc_scores(level), "coco": coco.coco_scores(level_aps)},
        "per_class": _per_class(gt, found, {"coco": aps}),
        "matching": matching(gt, pred, LEAST_SCORE[kind], ranks),
    }
    crowded = coco.crowded(gt, pred)
    if crowded.images:
        most = crowded.max_dets
        aps_all = coco.class_aps(gt, pred, ranks=ranks, max_dets=most)
        level_all = coco.class_aps(gt, pred, scores_one=True, ranks=ranks, max_dets=most)
        metrics["coco_all"] = {**coco.coco_scores(aps_all), **crowded._asdict()}
        metrics["scores_one"]["coco_all"] = coco.coco_scores(level_all)
        metrics["per_class"] = _per_class(gt, found, {"coco": aps, "coco_all": aps_all})
    if kind == "pseudo":
        metrics["quality"] = {**quality(gt, pred, ranks), "miou": masks_miou(gt, pred, ranks)}
    metrics["run"] = {
        "kind": kind,
        "points_given": kind == "pseudo",
        "oracle": from_oracle(pred.info),
        "mask_pretraining": saw_masks(pred.info),
        "images": len(gt.images),
        "instances": sum(each.positives for each in found),
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
        gt_path: a COCO-style file, or a VOC year's folder.
        pred_path: a COCO results list, or a dataset file such as our pseudo masks.
        kind: see `evaluate`.
        split: the split of a VOC folder.
        ignore_void: add `void_ignored`: `voc_area` and `voc_11pt` where VOC's void pixels count
            neither for nor against.
        ranks: as of `evaluate`.

    Returns:
        What `evaluate` gives, with the files' names and SHA-256 in `run`; for a folder the
        SHA-256 is that of its list of images.

    Raises:
        UserError: a file cannot be read, the two do not belong together, or `ignore_void` is asked
            for with a ground truth that has no void pixels.
    """
    in_folder = gt_path.is_dir()
    if ignore_void and not in_folder:
        raise UserError(
            f"void=ignore needs the PNGs of a VOC folder and gt={gt_path} is none; "
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
    """Whether provenance names semantic maps painted from ground truth, at any depth of it."""
    if isinstance(info, Mapping):
        return any(from_oracle(value) for value in info.values())
    if isinstance(info, list):
        return any(map(from_oracle, info))
    return bool(info == "oracle")


def saw_masks(info: Any) -> bool:
    """Whether provenance names a segmentor that was allowed to start from weights of masks."""
    if isinstance(info, Mapping):
        said = any(info.get(key) is True for key in ("mask_pretraining", "allow_mask_pretraining"))
        return said or any(saw_masks(value) for value in info.values())
    return isinstance(info, list) and any(map(saw_masks, info))


def _per_class(
    gt: InstanceSet, found: list[voc.Overlaps], aps: dict[str, NDArray[np.float64]]
) -> dict[str, dict[str, float | None]]:
    """AP50 of each class by VOC's two definitions, and by COCO's as in `aps`."""
    columns = {measure: voc.class_aps(found, 0.5, measure) for measure in voc.MEASURES}
    columns |= {name: own[coco.row_of(0.5)] for name, own in aps.items()}
    return {
        category.name: {name: voc.mean(column[k : k + 1]) for name, column in columns.items()}
        for k, category in enumerate(gt.categories)
    }
