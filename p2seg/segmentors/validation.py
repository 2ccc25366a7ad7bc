"""Validation scores of a segmentation model during training."""

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

MIN_SCORE = 0.05
"""Minimum score of detections, the default of `predict.score`."""


@dataclass(frozen=True)
class Validation:
    """Scores a segmentation model on annotated images.

    Attributes:
        gt: ground truth.
        images: folder of the images.
        key: fingerprint of the ground truth; scores with different keys are not comparable.
        ranks: the processes that share the images; all get the same scores.
    """

    gt: InstanceSet
    images: Path
    key: str
    ranks: Ranks = field(default_factory=Ranks)

    def __call__(self, model: nn.Module) -> dict[str, float]:
        """`mAP50`, `mAP75` (VOC, area) and COCO's `AP`, 0..1, of a `Segmentor` in eval mode."""
        assert isinstance(model, Segmentor)
        self.ranks.equal(model)  # the statistics of batch norms differ between ranks
        device = next(model.parameters()).device
        detections = []
        for record in self.ranks.share(self.gt.images):
            array = read_image(self.images / record.file_name, (record.height, record.width))
            image = torch.from_numpy(array).permute(2, 0, 1).to(device)
            with naming([record.file_name]):
                [own] = model.predict([image], MIN_SCORE)
            detections.append([Instance(-1, d.label, d.rle, score=d.score) for d in own])
        pred = replace(self.gt, instances=self.ranks.merged(detections))
        area = voc.voc_scores(voc.overlaps(self.gt, pred, self.ranks))["voc_area"]
        scores = {
            "mAP50": area["mAP50"],
            "mAP75": area["mAP75"],
            "AP": coco.coco_scores(coco.class_aps(self.gt, pred, ranks=self.ranks))["AP"],
        }
        return {name: score or 0.0 for name, score in scores.items()}
