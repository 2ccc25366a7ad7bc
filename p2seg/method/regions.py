"""Connected regions of the semantic map, and the points in each region.

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
    """The connected regions of all classes that have points, of a batch.

    Attributes:
        labels: `[B, H, W]` int32, number of the pixel's region; 0 outside all regions.
        classes: `[B, R]` int64, class of each region, R > largest number; 0 at index 0.
        region_of: `[B, K]` int64, region of each point; 0: none.
        count: `[B, R]` int64, number of points of each region; 0 at index 0.
        sole: `[B, R]` int64, k + 1 if point k is the region's only point, else 0.
    """

    labels: Tensor
    classes: Tensor
    region_of: Tensor
    count: Tensor
    sole: Tensor


def regions_of(semantic: Tensor, points: PointBatch, snap_radius: float) -> Regions:
    """Computes the 8-connected regions of every class that has points, and assigns points to them.

    A point is assigned to the region at its pixel if the region has the point's class. Otherwise
    it is snapped to the nearest region of its class that has no point, within `snap_radius`. Pairs
    of point and region are snapped by increasing distance; ties go to the lower point, then to the
    region whose nearest pixel comes first in raster order. Of two points of one region on the same
    pixel or on adjacent pixels, only the first is assigned.

    Args:
        semantic: `[B, H, W]` int64, class indices.
        points: points of the B images; a point outside the map gets no region.
        snap_radius: maximum distance in pixels to the region's nearest pixel; 0: no snapping.
    """
    height, width = semantic.shape[1:]
    present = torch.zeros(len(semantic), LABELS, dtype=torch.bool, device=semantic.device)
    present.scatter_(1, points.labels, value=True)
    labels, classes = connected_components(semantic, present)
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
    """The value `[B, K]` of a map `[B, H, W]` at each point; 0 outside the map."""
    height, width = pixels.shape[1:]
    cells = points.cells(height, width)
    inside = cells < height * width
    return pixels.flatten(1).gather(1, cells.where(inside, 0)).where(inside, 0).long()


def _repeated(points: PointBatch, region_of: Tensor) -> Tensor:
    """`[B, K]` bool: whether an earlier point of the region is on the same or an adjacent pixel."""
    steps = (points.pixels[:, :, None] - points.pixels[:, None]).abs().amax(3)
    same = (steps <= 1) & (region_of[:, :, None] == region_of[:, None])
    return same.tril(-1).any(2)


def _owners(region_of: Tensor, regions: int) -> tuple[Tensor, Tensor]:
    """The number of points of each region, and k + 1 of its first point, each `[B, regions]`."""
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
    """Snaps free points to the nearest region of their class without a point.

    Each iteration assigns the nearest remaining pair of point and region in each image, so K
    iterations suffice. On the CPU the loop stops when no pair remains.
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
    inside = (y + dy >= 0) & (y + dy < height) & (x + dx >= 0) & (x + dx < width)
    cell = torch.where(inside, (y + dy) * width + x + dx, outside).flatten(1)
    shape = (*points.labels.shape, len(dy))
    around = F.pad(labels.flatten(1), (0, 1)).gather(1, cell).view(shape).long()
    around_class = classes.gather(1, around.flatten(1)).view(shape)
    around = torch.where(around_class == points.labels[:, :, None], around, 0)
    # order: distance, then index of the point, then raster index of the pixel
    point = torch.arange(shape[1], device=labels.device)[:, None]
    pixel = torch.arange(shape[2], device=labels.device)
    rank = (square * shape[1] + point) * shape[2] + pixel
    last = rank.new_full((), torch.iinfo(rank.dtype).max)
    for _ in range(shape[1]):
        count, _ = _owners(region_of, classes.shape[1])
        remaining = (around > 0) & (free & (region_of == 0))[:, :, None]
        remaining &= count.gather(1, around.flatten(1)).view(shape) == 0
        if remaining.device.type == "cpu" and not bool(remaining.any()):
            break
        best, at = torch.where(remaining, rank, last).flatten(1).min(1, keepdim=True)
        one = at // shape[2]
        region = torch.where(best < last, around.flatten(1).gather(1, at), region_of.gather(1, one))
        region_of = region_of.scatter(1, one, region)
    return region_of
