"""The first instance labels: points and a semantic map, no network.

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
    """Makes the seeds of images.

    Attributes:
        conflict: what a region with several points becomes: `points_first` splits it among them
            (Eq. 1), `semantic_first` drops it (BESTIE's way, Table 6's rival).
        snap_radius: pixels within which a point that lies off its class takes a pointless region.
        split: the rule for regions with several points: Eq. 1 or another.
    """

    conflict: Literal["points_first", "semantic_first"] = "points_first"
    snap_radius: float = 16.0
    split: Split = EUCLIDEAN

    def __call__(
        self, semantic: Tensor, points: list[Points], images: Tensor | None = None
    ) -> Labels:
        """First instance labels of whole images.

        Args:
            semantic: `[B, H, W]` int64, the first semantic maps, 255 ignored.
            points: of the B images.
            images: `[B, 3, H, W]` uint8 RGB, where the rule looks at colors.

        Returns:
            Labels of `[B, H, W]`; regions without a point have no instance. Paper: Eq. 1.
        """
        batch = PointBatch.of(points, semantic.device)
        regions = regions_of(semantic, batch, self.snap_radius)
        nobody = torch.zeros_like(regions.sole)
        owner = owners(regions.labels, regions.sole, nobody, batch.yx, regions.region_of)
        if self.conflict == "points_first":
            near = self.split(regions, regions.count > 1, batch, images, batch.yx)
            owner = near.where(near > 0, owner)
        return Labels(semantic, owner)
