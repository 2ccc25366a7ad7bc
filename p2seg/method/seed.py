"""Seed labels: the first instance labels, from points and the initial semantic map.

Paper: Sec. 3.1, Eq. 1, Fig. 6 and Table 6.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from p2seg.method.regions import regions_of
from p2seg.method.split import EUCLIDEAN, Split
from p2seg.ops.owners import owners
from p2seg.structures import Labels, PointBatch, Points


@dataclass(frozen=True)
class Seeder:
    """Computes seed labels.

    Attributes:
        conflict: treatment of a region with several points: `points_first` splits it among them
            (Eq. 1); `semantic_first` gives it no instance, as BESTIE does (Table 6).
        snap_radius: pixels; a point outside its class is assigned to the nearest region of its
            class without a point within this distance.
        split: the rule that splits a region with several points.
    """

    conflict: Literal["points_first", "semantic_first"] = "points_first"
    snap_radius: float = 16.0
    split: Split = EUCLIDEAN

    def __call__(
        self, semantic: Tensor, points: list[Points], images: Tensor | None = None
    ) -> Labels:
        """Seed labels of whole images. Paper: Eq. 1.

        Args:
            semantic: `[B, H, W]` int64, initial semantic maps; 255: ignored.
            points: points of the B images.
            images: `[B, 3, H, W]` uint8 RGB, needed if `split.needs_image`.

        Returns:
            Labels `[B, H, W]`; regions without a point have no instance.
        """
        batch = PointBatch.of(points, semantic.device)
        regions = regions_of(semantic, batch, self.snap_radius)
        nobody = torch.zeros_like(regions.sole)
        owner = owners(regions.labels, regions.sole, nobody, batch.yx, regions.region_of)
        if self.conflict == "points_first":
            near = self.split(regions, regions.count > 1, batch, images, batch.yx)
            owner = near.where(near > 0, owner)
        return Labels(semantic, owner)
