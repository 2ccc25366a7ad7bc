"""Rules that split a region with several points among the points.

`euclidean` (Eq. 1) assigns each pixel to the nearest point. `geodesic` measures shortest paths
inside the region, which edges of the image make longer. `mixture` fits one ellipse per point to the
region. docs/developers/experiments.md compares the rules.
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
from p2seg.method.regions import Regions
from p2seg.ops.geodesic import geodesic_owners
from p2seg.ops.lookup import look_up
from p2seg.ops.mixture import mixture_owners
from p2seg.ops.owners import owners
from p2seg.structures import PointBatch

CHROMA = 2.0
"""Weight of the color channels a and b relative to the lightness L."""


@dataclass(frozen=True)
class Split:
    """A rule that splits regions with several points.

    Attributes:
        rule: `euclidean`: nearest point (Eq. 1), measured from where a pixel's offset points to
            if offsets are given. `geodesic`: nearest point by shortest path inside the region,
            where a change of color adds to the length. `mixture`: most probable component of a
            mixture of one Gaussian per point, initialized by `euclidean`.
        color_weight: length in pixels of a change of color by 1 (8-bit Lab, a and b doubled).

    Raises:
        UserError: the rule is unknown, or the weight is negative.
    """

    rule: Literal["euclidean", "geodesic", "mixture"] = "euclidean"
    color_weight: float = 3.0

    def __post_init__(self) -> None:
        check_choice("mdm.split", self.rule, ("euclidean", "geodesic", "mixture"))
        if not 0 <= self.color_weight < math.inf:
            raise UserError(f"mdm.color_weight={self.color_weight}: must be a finite number >= 0")

    @property
    def needs_image(self) -> bool:
        """Whether the rule uses the image."""
        return self.rule == "geodesic"

    def __call__(
        self,
        regions: Regions,
        asked: Tensor,
        points: PointBatch,
        images: Tensor | None,
        targets: Tensor,
        offset: Tensor | None = None,
    ) -> Tensor:
        """Assigns each pixel of the selected regions to a point.

        Args:
            regions: regions of B maps.
            asked: `[B, R]` bool, the regions to split.
            points: points of the B images.
            images: `[B, 3, H, W]` uint8 RGB; may be None unless `needs_image`.
            targets: `[B, K, 2]` float32 (y, x), the position of each point, or its position plus
                its offset.
            offset: `[B, 2, H, W]` float32 (dy, dx), added to the position of each pixel; None: 0.

        Returns:
            Owners `[B, H, W]` int64, k + 1 for the k-th point, 0 outside the selected regions.

        Raises:
            ValueError: the rule needs images and there are none.
        """
        numbers = torch.arange(asked.shape[1], device=asked.device)
        keys = numbers.where(asked, 0)
        if self.rule == "geodesic":
            if images is None:
                raise ValueError("the geodesic distance needs the images")
            height, width = regions.labels.shape[1:]
            here = look_up(keys.int()[:, None], regions.labels)[:, 0]
            inside = asked.gather(1, regions.region_of)
            starts = points.cells(height, width).where(inside, height * width)
            return geodesic_owners(here, starts, _lab(images) * self.color_weight)
        nobody = torch.zeros_like(regions.sole)
        nearest = owners(regions.labels, nobody, keys, targets, regions.region_of, offset)
        if self.rule == "euclidean":
            return nearest
        return mixture_owners(regions.labels, asked, regions.region_of, points.pixels, nearest)


EUCLIDEAN = Split()
"""The rule of Eq. 1."""


def _lab(images: Tensor) -> Tensor:
    """Converts RGB images to `[B, 3, H, W]` float32 CIE Lab in 8-bit units, a and b doubled."""
    arrays = [
        cv2.cvtColor(np.ascontiguousarray(each), cv2.COLOR_RGB2LAB)
        for each in images.permute(0, 2, 3, 1).cpu().numpy()
    ]
    lab = torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).to(images.device, torch.float32)
    return lab * lab.new_tensor([1, CHROMA, CHROMA])[:, None, None]
