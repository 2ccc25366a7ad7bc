"""How far the pixels of a region are from the points in it.

Eq. 1 measures straight through the picture, and so cuts a region half way between two clicks,
wherever they are on their objects. A way along the surface of the picture is long where it crosses
an edge or leaves the region. docs/results.md has what that is worth.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Literal

import cv2
import numpy as np
import torch
from torch import Tensor

from p2seg.errors import UserError
from p2seg.mdm.regions import Regions
from p2seg.ops.geodesic import geodesic_owners
from p2seg.ops.lookup import look_up
from p2seg.structures import PointBatch

CHROMA = 2.0
"""What a change of a or b counts beside one of L."""


@dataclass(frozen=True)
class Ways:
    """How ways are measured.

    Attributes:
        kind: `straight` (Eq. 1) or `geodesic`: inside the region and along the image.
        colour: pixels that a change of the colour by 1 counts (8-bit Lab, a and b twice).
    """

    kind: Literal["straight", "geodesic"] = "straight"
    colour: float = 3.0

    def __post_init__(self) -> None:
        if self.kind not in ("straight", "geodesic") or not 0 <= self.colour < math.inf:
            raise UserError(
                f"mdm.ways={asdict(self)} cannot be; kind is straight or geodesic, and colour is a "
                "number from 0"
            )

    def guide(self, images: Tensor | None) -> Tensor | None:
        """What ways follow beside the pixels' places.

        Args:
            images: `[B, 3, H, W]` uint8 RGB.

        Returns:
            `[B, G, H, W]` float32, a change by 1 is as far as a pixel; None for straight ways.

        Raises:
            ValueError: geodesic ways without images.
        """
        if self.kind == "straight":
            return None
        if images is None:
            raise ValueError("geodesic ways need the images")
        return _lab(images) * self.colour


STRAIGHT = Ways()
"""Eq. 1 as it stands."""


def owners_along(
    regions: Regions, split: Tensor, points: PointBatch, guide: Tensor, *, margins: bool
) -> tuple[Tensor, Tensor]:
    """The point of its own region that each pixel of a split region has the shortest way to.

    Args:
        regions: of B maps.
        split: `[B, R]` bool, the regions that are asked about.
        points: of the B images.
        guide: `[B, G, H, W]`.
        margins: whether they are asked for.

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
