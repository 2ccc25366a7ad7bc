"""S2I: from a semantic map and offsets to instances.

Paper: Sec. 3.1, Fig. 5 (right).
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from p2seg.mdm.regions import class_regions
from p2seg.structures import Points

Decode = Literal["point", "vote"]
Orphans = Literal["nearest", "drop"]


def semantic_to_instances(
    semantic: Tensor,
    offset: Tensor,
    points: Points,
    *,
    decode: Decode = "vote",
    snap_radius: float = 0.0,
    orphans: Orphans = "nearest",
) -> Tensor:
    """Gives every pixel of a class with points to one of them.

    In a region with one point all pixels are that point's. Elsewhere a pixel m goes to the point
    k of its class that it points to: `point` (the paper's) asks for the smallest
    `|m + O(m) - e_k|`, `vote` for the smallest `|m + O(m) - (e_k + O(e_k))|`: where the pixel and
    the click both point to, so that it does not matter where on the object the click was.

    Args:
        semantic: `[H, W]` int64, class indices.
        offset: `[2, H, W]` float32, (dy, dx) in pixels of the map.
        points: in pixels of the map; one outside a crop stays a candidate. While a class has
            points outside, its one-point regions are decoded as well: the part of an object whose
            click was cut off must not fall to its neighbour.
        decode: `vote` or `point`.
        snap_radius: as in the seeds.
        orphans: what happens in regions without a point: `nearest` decodes them, `drop` leaves
            them without an instance.

    Returns:
        `[H, W]` int64: 0 none, k + 1 the k-th point.
    """
    height, width = semantic.shape
    pixels = points.pixels.to(semantic.device)
    inside = points.inside(height, width).to(semantic.device)
    targets = points.yx.to(offset)
    if decode == "vote":
        y, x = pixels[inside].unbind(1)
        targets = targets.clone()
        targets[inside] += offset[:, y, x].T
    instances = torch.zeros_like(semantic)
    for regions in class_regions(semantic, points, snap_radius):
        wanted = regions.labels > 0
        if orphans == "drop":
            wanted &= regions.count[regions.labels] > 0
        at = wanted.nonzero()
        landing = at + offset[:, at[:, 0], at[:, 1]].T
        distance = torch.cdist(
            landing, targets[regions.points], compute_mode="donot_use_mm_for_euclid_dist"
        )
        instances[wanted] = regions.points[distance.argmin(1)] + 1
        if bool(inside[regions.points].all()):
            owner = torch.zeros_like(regions.count)
            owner[regions.region_of] = regions.points + 1
            owner[regions.count != 1] = 0
            sole = owner[regions.labels]
            instances = torch.where(sole > 0, sole, instances)
    y, x = pixels[inside].unbind(1)
    mine = (inside.nonzero()[:, 0] + 1).flip(0)  # of two points on a pixel the first one stays
    instances[y.flip(0), x.flip(0)] = mine
    return instances
