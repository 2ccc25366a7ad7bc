"""Weights of pseudo masks in the losses of a segmentation model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from p2seg.data.coco import Instance

DefaultBoxes = Literal["mask", "box", "ignore"]


@dataclass(frozen=True)
class InstanceWeights:
    """The weighting of pseudo masks by score, and the treatment of default boxes.

    Attributes:
        score_power: exponent p of the weight `score^p / mean(score^p)` of an instance, where the
            mean is over the file, so that the average weight is 1; 0: all weights are 1.
        default_boxes: use of instances that are default boxes: `mask`: like any other instance, as
            in the paper; `box`: without the mask loss; `ignore`: neither object nor background.
    """

    score_power: float = 0.0
    default_boxes: DefaultBoxes = "mask"

    def mean(self, scores: Iterable[float]) -> float:
        """The mean of `score^p`; 1 without scores."""
        powers = [score**self.score_power for score in scores]
        return float(np.mean(powers)) if any(powers) else 1.0

    def of(self, instances: Sequence[Instance], mean: float) -> tuple[Tensor, Tensor]:
        """The weights of an image's instances; rejected ones have weight 0.

        Args:
            instances: K instances.
            mean: returned by `mean`.

        Returns:
            Weights for class and box, and weights for the mask, each `[K]` float32.
        """
        weights = torch.tensor([each.score**self.score_power / mean for each in instances])
        boxes = torch.tensor([each.default_box for each in instances], dtype=torch.bool)
        rejected = torch.tensor([each.review == "rejected" for each in instances], dtype=torch.bool)
        weights = weights.masked_fill(rejected, 0)
        whole = weights.masked_fill(boxes, 0) if self.default_boxes == "ignore" else weights
        masks = weights if self.default_boxes == "mask" else weights.masked_fill(boxes, 0)
        return whole.float(), masks.float()
