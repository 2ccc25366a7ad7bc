"""Which points lie in which region of their class: what the seeds and S2I both begin with.

Paper: Sec. 3.1, "preliminary instance regions using connected component labeling".
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from p2seg.ops.components import connected_components
from p2seg.structures import LABELS, PointBatch


@dataclass(frozen=True)
class Regions:
    """The regions of the classes that have points, of a batch.

    Attributes:
        labels: `[B, H, W]` int32: 0 outside; each region of an image has a number of its own.
        classes: `[B, R]` int64, R more than the largest number: each region's class, 0 at 0.
        region_of: `[B, K]` int64, the region each point owns a part of; 0 none.
        count: `[B, R]` int64, points that own a part of each region; entry 0 counts nothing.
        sole: `[B, R]` int64, k + 1 of the point that owns a region alone, 0 of other regions.
    """

    labels: Tensor
    classes: Tensor
    region_of: Tensor
    count: Tensor
    sole: Tensor


def regions_of(semantic: Tensor, points: PointBatch, snap_radius: float) -> Regions:
    """The regions of every class that has points, and who owns in them.

    A point owns in the region under its own pixel. One whose pixel is not of its class takes the
    nearest region without a point within `snap_radius`: the nearest pair first, ties to the lower
    point, then to the region whose nearest pixel comes first. Of two points in a region
    on one pixel, or on two that touch, the first wins.

    Args:
        semantic: `[B, H, W]` int64.
        points: of the B images; a point outside the map owns nothing.
        snap_radius: pixels, to the region's nearest pixel; 0 turns it off.
    """
    height, width = semantic.shape[1:]
    wanted = torch.zeros(len(semantic), LABELS, dtype=torch.bool, device=semantic.device)
    wanted.scatter_(1, points.labels, value=True)
    labels, classes = connected_components(semantic, wanted)
    under = _at_points(labels, points)
    on_class = classes.gather(1, under) == points.labels
    region_of = torch.where(on_class, under, 0)
    region_of = region_of.masked_fill(_repeated(points, region_of), 0)
    if snap_radius > 0:
        free = points.inside(height, width) & ~on_class
        region_of = _snapped(labels, classes, points, free, region_of, snap_radius)
    count, first = _owners(region_of, classes.shape[1])
    return Regions(labels, classes, region_of, count, first.masked_fill(count != 1, 0))


def _at_points(pixels: Tensor, points: PointBatch) -> Tensor:
    """`[B, K]`: the value of a `[B, H, W]` map under every point; 0 outside."""
    height, width = pixels.shape[1:]
    cells = points.cells(height, width)
    inside = cells < height * width
    return pixels.flatten(1).gather(1, cells.where(inside, 0)).where(inside, 0).long()


def _repeated(points: PointBatch, region_of: Tensor) -> Tensor:
    """`[B, K]` bool: an earlier point of the region lies on the same pixel or on one next to it."""
    steps = (points.pixels[:, :, None] - points.pixels[:, None]).abs().amax(3)
    same = (steps <= 1) & (region_of[:, :, None] == region_of[:, None])
    return same.tril(-1).any(2)


def _owners(region_of: Tensor, regions: int) -> tuple[Tensor, Tensor]:
    """Points of each region, and k + 1 of the first of them; `[B, regions]` each, 0 at 0."""
    images, points = region_of.shape
    nobody = points + 1
    count = region_of.new_zeros(images, regions).scatter_add_(
        1, region_of, torch.ones_like(region_of)
    )
    first = region_of.new_full((images, regions), nobody)
    order = torch.arange(1, nobody, device=region_of.device).expand(images, -1)
    first.scatter_reduce_(1, region_of, order, "amin")
    first = first.masked_fill(first == nobody, 0)
    count[:, 0] = 0
    first[:, 0] = 0
    return count, first


def _snapped(
    labels: Tensor,
    classes: Tensor,
    points: PointBatch,
    free: Tensor,
    region_of: Tensor,
    radius: float,
) -> Tensor:
    """Gives free points the nearest region of their class without a point, nearest pair first.

    Every turn gives the nearest pair of all to each image, so that there are as many turns as
    points; on the CPU only as many as are needed.
    """
    height, width = labels.shape[1:]
    outside = height * width
    reach = int(radius)
    steps = torch.arange(-reach, reach + 1, device=labels.device)
    dy, dx = torch.meshgrid(steps, steps, indexing="ij")
    square = dy * dy + dx * dx
    disc = square <= radius * radius
    dy, dx, square = dy[disc], dx[disc], square[disc]
    y, x = (each[:, :, None] for each in points.pixels.unbind(2))
    seen = (y + dy >= 0) & (y + dy < height) & (x + dx >= 0) & (x + dx < width)
    cell = torch.where(seen, (y + dy) * width + x + dx, outside).flatten(1)
    shape = (*points.labels.shape, len(dy))
    around = F.pad(labels.flatten(1), (0, 1)).gather(1, cell).view(shape).long()
    theirs = classes.gather(1, around.flatten(1)).view(shape)
    around = torch.where(theirs == points.labels[:, :, None], around, 0)
    # nearest first, then the lower point, then the pixel that comes first in raster order
    point = torch.arange(shape[1], device=labels.device)[:, None]
    pixel = torch.arange(shape[2], device=labels.device)
    rank = (square * shape[1] + point) * shape[2] + pixel
    last = rank.new_full((), torch.iinfo(rank.dtype).max)
    taken = region_of
    for _ in range(shape[1]):
        count, _ = _owners(taken, classes.shape[1])
        waits = (around > 0) & (free & (taken == 0))[:, :, None]
        waits &= count.gather(1, around.flatten(1)).view(shape) == 0
        if waits.device.type == "cpu" and not bool(waits.any()):
            break
        best, at = torch.where(waits, rank, last).flatten(1).min(1, keepdim=True)
        one = at // shape[2]
        region = torch.where(best < last, around.flatten(1).gather(1, at), taken.gather(1, one))
        taken = taken.scatter(1, one, region)
    return taken
