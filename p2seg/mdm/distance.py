"""The distance from the pixels of a region to the points in it: Euclidean or geodesic.

The Euclidean distance of Eq. 1 splits a region half way between two clicks, wherever the clicks are
on their objects. The geodesic distance is the length of the shortest path inside the region, and a
path that crosses an edge of the image is long. docs/results.md compares the two.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import torch
from torch import Tensor

from p2seg.errors import UserError, check_choice
from p2seg.mdm.regions import Regions
from p2seg.ops.geodesic import geodesic_owners
from p2seg.ops.lookup import look_up
from p2seg.structures import PointBatch

CHROMA = 2.0
"""What a change of a or b counts beside one of L."""


@dataclass(frozen=True)
class Distance:
    """Which distance is measured.

    Attributes:
        kind: `euclidean` (Eq. 1), or `geodesic`: the shortest path inside the region, on which a
            change of color is as long as `color_weight` says.
        color_weight: pixels that a change of color by 1 counts (8-bit Lab, a and b twice).

    Raises:
        UserError: an unknown kind, or a weight below 0.
    """

    kind: Literal["euclidean", "geodesic"] = "euclidean"
    color_weight: float = 3.0

    def __post_init__(self) -> None:
        check_choice("mdm.distance", self.kind, ("euclidean", "geodesic"))
        if not 0 <= self.color_weight < math.inf:
            raise UserError(
                f"mdm.color_weight={self.color_weight} cannot be; it is a number from 0"
            )

    def guide(self, images: Tensor | None) -> Tensor | None:
        """What a path is measured by besides the positions of its pixels: the weighted colors.

        Args:
            images: `[B, 3, H, W]` uint8 RGB.

        Returns:
            `[B, G, H, W]` float32, where a change by 1 is as far as one pixel; None for the
            Euclidean distance.

        Raises:
            ValueError: the geodesic distance without images.
        """
        if self.kind == "euclidean":
            return None
        if images is None:
            raise ValueError("the geodesic distance needs the images")
        return _lab(images) * self.color_weight


EUCLIDEAN = Distance()
"""The distance of Eq. 1."""


def nearest_points(
    regions: Regions, split: Tensor, points: PointBatch, guide: Tensor, *, margins: bool
) -> tuple[Tensor, Tensor]:
    """The geodesically nearest point in the same region, for each pixel of a split region.

    Args:
        regions: of B maps.
        split: `[B, R]` bool, the regions that are asked about.
        points: of the B images.
        guide: `[B, G, H, W]` of `Distance.guide`.
        margins: whether margins are computed.

    Returns:
        Owners and margins as of `p2seg.ops.geodesic.geodesic_owners`.
    """
    height, width = regions.labels.shape[1:]
    numbers = torch.arange(split.shape[1], device=split.device)
    asked = look_up(numbers.where(split, 0).int()[:, None], regions.labels)[:, 0]
    starts = points.cells(height, width).where(split.gather(1, regions.region_of), height * width)
    return geodesic_owners(asked, starts, guide, margins=margins)


def _lab(images: Tensor) -> Tensor:
    """`[B, 3, H, W]` float32 CIE Lab in 8-bit units, a and b twice."""
    made = [
        cv2.cvtColor(np.ascontiguousarray(each), cv2.COLOR_RGB2LAB)
        for each in images.permute(0, 2, 3, 1).cpu().numpy()
    ]
    lab = torch.from_numpy(np.stack(made)).permute(0, 3, 1, 2).to(images.device, torch.float32)
    return lab * lab.new_tensor([1, CHROMA, CHROMA])[:, None, None]
