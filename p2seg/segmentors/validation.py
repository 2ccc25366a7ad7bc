"""A segmentor's scores on validation images while it is trained."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import nn

from p2seg.data.coco import Instance, InstanceSet
from p2seg.data.images import read_image
from p2seg.engine.finite import naming
from p2seg.evaluation import coco, voc
from p2seg.runtime.ranks import Ranks
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
