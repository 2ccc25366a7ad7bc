"""Which points lie in which region of a class: what the seeds and S2I both begin with.

Paper: Sec. 3.1, "preliminary instance regions using connected component labeling".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from p2seg.ops.components import connected_components
from p2seg.structures import Points


@dataclass(frozen=True)
class ClassRegions:
    """The regions of one class, and the points of that class.

    Attributes:
        label: the class, 1..C.
        labels: `[H, W]` int64, 0 outside the class, 1..n its 8-connected regions.
        points: `[k]` int64, indices of the class's points among the image's, ascending.
        region_of: `[k]` int64, the region each of those points owns a part of; 0 none.
        count: `[n + 1]` int64, points of each region; entry 0 counts nothing.
    """

    label: int
    labels: Tensor
    points: Tensor
    region_of: Tensor
    count: Tensor


def class_regions(semantic: Tensor, points: Points, snap_radius: float) -> Iterator[ClassRegions]:
    """The regions of every class that has points, in the order of the classes.

    A point owns in the region under its own pixel. One whose pixel is not of its class takes the
    nearest region without a point within `snap_radius`: the nearest pair first, ties to the lower
    point, then to the region whose nearest pixel comes first. Of two points of a class on one
    pixel the first wins.

    Args:
        semantic: `[H, W]` int64.
        points: of the image; a point outside the map owns nothing.
        snap_radius: pixels, to the region's nearest pixel; 0 turns it off.
    """
    height, width = semantic.shape
    pixels = points.pixels.to(semantic.device)
    inside = points.inside(height, width).to(semantic.device)
    labels = points.labels.to(semantic.device)
    for label in labels.unique().tolist():
        regions = connected_components(semantic == label)
        own = (labels == label).nonzero()[:, 0]
        region_of = torch.zeros_like(own)
        seen = inside[own]
        y, x = pixels[own[seen]].unbind(1)
        region_of[seen] = regions[y, x]
        region_of[seen] *= _first_of_its_pixel(y * width + x)
        count = torch.bincount(region_of, minlength=int(regions.max()) + 1)
        if snap_radius > 0:
            free = (region_of == 0) & seen & (regions[_clamped(pixels[own], height, width)] == 0)
            _snap(regions, pixels[own], free, region_of, count, snap_radius)
        count[0] = 0
        yield ClassRegions(int(label), regions, own, region_of, count)


def _first_of_its_pixel(flat: Tensor) -> Tensor:
    earlier = (flat[:, None] == flat[None, :]).tril(-1)
    return (~earlier.any(1)).long()


def _clamped(pixels: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    y, x = pixels.unbind(1)
    return y.clamp(0, height - 1), x.clamp(0, width - 1)


def _snap(
    regions: Tensor, pixels: Tensor, free: Tensor, region_of: Tensor, count: Tensor, radius: float
) -> None:
    """Gives free points the nearest region without a point, nearest pair first; in place."""
    pairs: list[tuple[int, int, int, int]] = []
    reach = int(radius)
    for k in free.nonzero()[:, 0].tolist():
        y, x = pixels[k].tolist()
        top, left = max(0, y - reach), max(0, x - reach)
        window = regions[top : y + reach + 1, left : x + reach + 1]
        at = window.nonzero()
        square = (at + at.new_tensor([top, left]) - pixels[k]).square().sum(1)
        for region in window[window > 0].unique().tolist():
            own = (window[at[:, 0], at[:, 1]] == region).nonzero()[:, 0]
            nearest = own[square[own].argmin()]  # the first in raster order on a tie
            if square[nearest] <= radius**2 and count[region] == 0:
                pairs.append((int(square[nearest]), k, int(nearest), region))
    for _, k, _, region in sorted(pairs):
        if region_of[k] == 0 and count[region] == 0:
            region_of[k] = region
            count[region] = 1
