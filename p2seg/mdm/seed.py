"""The first instance labels: points and a semantic map, no network.

Paper: Sec. 3.1, Eq. 1, Fig. 6 and Table 6.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from p2seg.mdm.regions import class_regions
from p2seg.structures import Labels, Points

SURE_MARGIN = 0.5
"""Margin from which on the owner of a pixel in a split region is trusted wholly."""


@dataclass(frozen=True)
class Seeder:
    """Makes the seed of an image.

    Attributes:
        conflict: what a region with several points becomes: `points_first` splits it among them
            (Eq. 1), `semantic_first` drops it (BESTIE's way, Table 6's rival).
        snap_radius: pixels within which a point that lies off its class takes a pointless region.
    """

    conflict: Literal["points_first", "semantic_first"] = "points_first"
    snap_radius: float = 16.0

    def __call__(self, semantic: Tensor, points: Points) -> Labels:
        """First instance labels of one whole image.

        Args:
            semantic: `[H, W]` int64, the first semantic map, 255 ignored.
            points: of the image.

        Returns:
            Labels of `[H, W]`; regions without a point have no instance. `weight` is 1 in
            one-point regions, and grows from 0 on the border between two points to 1 where the
            margin `(d2 - d1) / (d2 + d1)` reaches 0.5.
        """
        instances = torch.zeros_like(semantic)
        weight = torch.zeros(semantic.shape, device=semantic.device)
        for regions in class_regions(semantic, points, self.snap_radius):
            for region in regions.count.nonzero()[:, 0].tolist():
                owners = regions.points[regions.region_of == region]
                at = regions.labels == region
                if len(owners) == 1:
                    instances[at], weight[at] = owners[0] + 1, 1.0
                elif self.conflict == "points_first":
                    owner, margin = nearest_point(at.nonzero(), points.yx.to(at.device)[owners])
                    instances[at] = owners[owner] + 1
                    weight[at] = (margin / SURE_MARGIN).clamp(0, 1)
        return Labels(semantic, instances, weight)


def nearest_point(pixels: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
    """The nearest point of every pixel and how clear that is. Paper: Eq. 1.

    Args:
        pixels: `[M, 2]`.
        points: `[k, 2]` float32, k >= 1.

    Returns:
        `[M]` int64 index of the nearest point (the lower on a tie), and `[M]` float32 margin
        `(d2 - d1) / (d2 + d1)` of the two smallest distances; 1 where there is one point.
    """
    distance = torch.cdist(
        pixels.float(), points.float(), compute_mode="donot_use_mm_for_euclid_dist"
    )
    owner = distance.argmin(1)
    if len(points) == 1:
        return owner, torch.ones_like(distance[:, 0])
    d1, d2 = distance.topk(2, dim=1, largest=False).values.unbind(1)
    return owner, (d2 - d1) / (d2 + d1).clamp(min=1e-6)
