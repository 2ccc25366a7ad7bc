"""Semantic-to-instance conversion (S2I): assigns pixels to points by regions and offsets.

Paper: Sec. 3.1, Fig. 5 (right).
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from p2seg.method.regions import regions_of
from p2seg.method.split import EUCLIDEAN, Split
from p2seg.ops.owners import owners
from p2seg.structures import LABELS, PointBatch, Points

Decode = Literal["point", "vote"]
Orphans = Literal["nearest", "drop"]


def semantic_to_instances(
    semantic: Tensor,
    offset: Tensor,
    points: list[Points],
    *,
    decode: Decode = "vote",
    snap_radius: float = 0.0,
    orphans: Orphans = "nearest",
    origin: float = 0.0,
    split: Split = EUCLIDEAN,
    images: Tensor | None = None,
) -> Tensor:
    """Gives every pixel of a class with points to one of them.

    A pixel m goes to the point k of its class that it points to. `point` takes the smallest
    `|m + O(m) - e_k|`. `vote` takes the smallest `|m + O(m) - (e_k + O(e_k))|`, so that the place
    of the click on the object does not matter.

    With `decode=point` and the split `euclidean`, offsets decide every pixel, as in the paper.
    Otherwise a region with one point belongs to that point as a whole.

    Args:
        semantic: `[B, H, W]` int64, class indices.
        offset: `[B, 2, H, W]` float32, (dy, dx) in pixels of the map.
        points: of the B images, in pixels of the map. A point outside a crop stays a candidate.
            While a class has points outside, its one-point regions are decoded as well, so that
            the part of an object whose click was cut off does not go to its neighbor.
        decode: `vote` or `point`.
        snap_radius: as in the seeds.
        orphans: what happens in regions without a point: `nearest` decodes them, `drop` leaves
            them without an instance.
        origin: where the middle of the first pixel lies in the points' coordinates; of a grid
            coarser than theirs it is not 0.
        split: how a region with several points is split if all points of its class are inside.
            `euclidean` decodes it; `mixture` begins with what is decoded.
        images: `[B, 3, H, W]` uint8 RGB, where the split looks at colors.

    Returns:
        `[B, H, W]` int64: 0 none, k + 1 the k-th point.
    """
    height, width = semantic.shape[1:]
    batch = PointBatch.of(points, semantic.device)
    regions = regions_of(semantic, batch, snap_radius)
    # classes of which a point lies outside
    cut = regions.region_of.new_zeros(len(semantic), LABELS)
    cut.scatter_(1, batch.labels.masked_fill(batch.inside(height, width), 0), 1)
    lies_out = cut.gather(1, regions.classes) > 0
    literal = decode == "point" and split.rule == "euclidean"
    sole = torch.zeros_like(regions.sole) if literal else regions.sole.masked_fill(lies_out, 0)
    keys = regions.classes
    if orphans == "drop":
        keys = keys.masked_fill(regions.count == 0, 0)
    targets = batch.yx
    if decode == "vote":
        cells = batch.cells(height, width)[:, None].expand(-1, 2, -1)
        at_points = F.pad(offset.flatten(2), (0, 1)).gather(2, cells)
        targets = targets + at_points.transpose(1, 2)
    owner = owners(regions.labels, sole, keys, targets, batch.labels, offset, origin)
    order = torch.arange(1, batch.labels.shape[1] + 1, device=semantic.device)
    if split.rule != "euclidean":
        asked = (regions.count > 1) & ~lies_out
        near = split(regions, asked, batch, images, targets, offset)
        owner = near.where(near > 0, owner)
    return batch.stamp_(owner, order.expand_as(batch.labels))
