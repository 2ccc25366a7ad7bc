"""A segmentor's scores on validation images while it is trained."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from _common import path_of
from omegaconf import DictConfig
from torch import nn

from p2seg.data.coco import Category, Instance, InstanceSet
from p2seg.data.images import read_image
from p2seg.errors import UserError
from p2seg.evaluation import coco, voc
from p2seg.evaluation.readers import read_ground_truth
from p2seg.files import fingerprint
from p2seg.finite import naming
from p2seg.progress import console
from p2seg.runs.ranks import Ranks
from p2seg.segmentors.data import usable
from p2seg.segmentors.segmentor import Segmentor

LEAST_SCORE = 0.05
"""Detections below it are left out, as `predict.score` does."""


@dataclass(frozen=True)
class Validation:
    """Scores a segmentor on annotated images.

    Attributes:
        gt: ground truth.
        images: the folder of its images.
        key: of the ground truth and how much of it: scores by another are not compared.
        ranks: that share the images, and get the same scores.
    """

    gt: InstanceSet
    images: Path
    key: str
    ranks: Ranks = field(default_factory=Ranks)

    def __call__(self, model: nn.Module) -> dict[str, float]:
        """`mAP50`, `mAP75` (`voc_area`) and COCO's `AP`, 0..1, of a `Segmentor` in eval mode."""
        assert isinstance(model, Segmentor)
        self.ranks.equal(model)  # batch norms have seen other images on each rank
        device = next(model.parameters()).device
        found = []
        for record in self.ranks.share(self.gt.images):
            array = read_image(self.images / record.file_name, (record.height, record.width))
            image = torch.from_numpy(array).permute(2, 0, 1).to(device)
            with naming([record.file_name]):
                [own] = model.predict([image], LEAST_SCORE)
            found.append([Instance(-1, d.label, d.rle, score=d.score) for d in own])
        pred = replace(self.gt, instances=self.ranks.merged(found))
        area = voc.voc_scores(voc.overlaps(self.gt, pred, self.ranks))["voc_area"]
        scores = {
            "mAP50": area["mAP50"],
            "mAP75": area["mAP75"],
            "AP": coco.coco_scores(coco.class_aps(self.gt, pred, ranks=self.ranks))["AP"],
        }
        return {name: score or 0.0 for name, score in scores.items()}


def validation_of(cfg: DictConfig, categories: list[Category], out: Path) -> Validation | None:
    """What the config asks for; None where it asks for none or has no ground truth.

    The processes of the run have been started; every one calls this.

    Raises:
        UserError: ground truth of other classes, or an image of it that cannot be read.
    """
    if cfg.segmentor.validate.every is None or not cfg.data.get("val_gt"):
        return None
    path = path_of(cfg, "data.val_gt")
    if not path.exists():
        told = f"no validation: there is no ground truth at {path}; data.val_gt=FILE names one"
        console.print(told, markup=False)
        return None
    gt = read_ground_truth(path, "val")
    if gt.categories != categories:
        raise UserError(
            f"{path} has other categories than {cfg.pseudo} ("
            f"{', '.join(c.name for c in gt.categories[:5])}..., or other ids); give ground truth "
            "of these with data.val_gt=FILE, or segmentor.validate.every=null"
        )
    count = cfg.segmentor.validate.images
    if count is not None and count < len(gt.images):
        console.print(
            f"validation takes the first {count} of {len(gt.images)} images of {path}; "
            "segmentor.validate.images=N sets another count",
            markup=False,
        )
    gt = replace(gt, images=gt.images[:count], instances=gt.instances[:count])
    images, known = path_of(cfg, "data.val_images"), out / "readable_val.json"
    gt, skipped = usable(gt, images, cfg.data.on_error, known)
    for sentence in skipped:
        console.print(f"validation goes on without it: {sentence}", markup=False)
    crowded = coco.crowded(gt, replace(gt, instances=[[] for _ in gt.images]))
    if crowded.images:
        console.print(
            f"{crowded.images} validation images have more than {coco.MAX_DETS} objects of a "
            f"class, up to {crowded.max_dets}: AP takes the {coco.MAX_DETS} best detections of "
            "each, as COCO does; mAP50 and mAP75 take all",
            markup=False,
        )
    key = fingerprint([len(gt.images), [vars(each) for each in gt.images], _rles(gt)])
    return Validation(gt, images, key, Ranks.started())


def _rles(gt: InstanceSet) -> list[list[str]]:
    return [[f"{each.label} {each.rle['counts']!r}" for each in own] for own in gt.instances]
