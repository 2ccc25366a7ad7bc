"""How much a segmentor believes each of the instances it learns from."""

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
    """What pseudo masks need and true ones do not.

    Attributes:
        score_power: an instance's losses are weighed by its score to this power, over the mean of
            that in the file, so that the learning rate stays what it was; 0: all alike.
        default_boxes: boxes given to points that no pixel claimed are learned as `mask`, like any
            other instance (as in the paper); as `box` and class alone; or `ignore`d: neither
            objects nor background.
    """

    score_power: float = 0.0
    default_boxes: DefaultBoxes = "mask"

    def mean(self, scores: Iterable[float]) -> float:
        """What the weights of instances of these scores are divided by; 1 of none."""
        powers = [score**self.score_power for score in scores]
        return float(np.mean(powers)) if any(powers) else 1.0

    def of(self, instances: Sequence[Instance], mean: float) -> tuple[Tensor, Tensor]:
        """The weights of an image's instances; those of rejected ones are 0.

        Args:
            instances: K of them.
            mean: of `mean`.

        Returns:
            `[K]` float32 for class and box, and `[K]` float32 for the mask.
        """
        weights = torch.tensor([each.score**self.score_power / mean for each in instances])
        boxes = torch.tensor([each.default_box for each in instances], dtype=torch.bool)
        rejected = torch.tensor([each.review == "rejected" for each in instances], dtype=torch.bool)
        weights = weights.masked_fill(rejected, 0)
        whole = weights.masked_fill(boxes, 0) if self.default_boxes == "ignore" else weights
        masks = weights if self.default_boxes == "mask" else weights.masked_fill(boxes, 0)
        return whole.float(), masks.float()
