"""How a region with several points is split among them: by distance, or by the shapes of objects.

Eq. 1 splits a region half way between two clicks, wherever the clicks are on their objects.
`geodesic` measures the shortest path inside the region, and a path that crosses an edge of the
image is long. `mixture` looks for the ellipses that cover the region.
docs/developers/experiments.md compares them.
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
"""What a change of a or b counts beside one of L."""


@dataclass(frozen=True)
class Split:
    """The rule by which regions with several points are split.

    Attributes:
        rule: `euclidean`: by the nearest point (Eq. 1), or by offsets where there are some.
            `geodesic`: by the shortest path inside the region, on which a change of color is as
            long as `color_weight` says. `mixture`: by a mixture of Gaussians, one for each point,
            that starts from what `euclidean` says.
        color_weight: pixels that a change of color by 1 counts (8-bit Lab, a and b twice).

    Raises:
        UserError: an unknown rule, or a weight below 0.
    """

    rule: Literal["euclidean", "geodesic", "mixture"] = "euclidean"
    color_weight: float = 3.0

    def __post_init__(self) -> None:
        check_choice("mdm.split", self.rule, ("euclidean", "geodesic", "mixture"))
        if not 0 <= self.color_weight < math.inf:
            raise UserError(
                f"mdm.color_weight={self.color_weight} cannot be; it is a number from 0"
            )

    @property
    def needs_image(self) -> bool:
        """Whether the colors of the image count."""
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
        """The owner of every pixel in some regions.

        Args:
            regions: of B maps.
            asked: `[B, R]` bool, the regions that are split.
            points: of the B images.
            images: `[B, 3, H, W]` uint8 RGB; None where `needs_image` is false.
            targets: `[B, K, 2]` float32, what stands for each point: itself, or where it points to.
            offset: `[B, 2, H, W]` float32: a pixel looks from where it points to; None: from
                itself.

        Returns:
            `[B, H, W]` int64: k + 1 the k-th point, 0 elsewhere.

        Raises:
            ValueError: the colors count, but there are no images.
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
    """`[B, 3, H, W]` float32 CIE Lab in 8-bit units, a and b twice."""
    made = [
        cv2.cvtColor(np.ascontiguousarray(each), cv2.COLOR_RGB2LAB)
        for each in images.permute(0, 2, 3, 1).cpu().numpy()
    ]
    lab = torch.from_numpy(np.stack(made)).permute(0, 3, 1, 2).to(images.device, torch.float32)
    return lab * lab.new_tensor([1, CHROMA, CHROMA])[:, None, None]
