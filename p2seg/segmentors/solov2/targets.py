"""Assignment of instances to the cells of SOLOv2's grids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from p2seg.segmentors.data import InstanceTarget


@dataclass(frozen=True)
class GridLevel:
    """One level of the grids.

    Attributes:
        cells: cells per side of the grid.
        least: minimum size of the level's instances, the square root of the box area in pixels of
            the network's input.
        most: maximum size of the level's instances.
        stride: stride in input pixels of the feature map from which the grid is resized.
    """

    cells: int
    least: float
    most: float
    stride: int


def grid_owners(
    target: InstanceTarget, levels: Sequence[GridLevel], center: float, height: int, width: int
) -> Tensor:
    """The instance that each cell of each level predicts.

    An instance is assigned to the cells that its center region touches: a rectangle of `center`
    times the box's sides around the mask's center of mass, limited to the 3x3 cells around that
    center (Wang et al. 2020, SOLO, Sec. 3.3.1). Of several instances, a cell predicts the smallest.
    An instance with weight 0 gets only cells without another instance.

    Args:
        target: K instances.
        levels: the grids.
        center: share of the box's sides.
        height: height in pixels of the padded input, which the grids divide.
        width: width in pixels of the padded input.

    Returns:
        `[G]` int64, cells of all levels in raster order: an index 0..K-1, or -1 for none.
    """
    device = target.masks.device
    count = len(target.labels)
    if count == 0:
        return torch.full((sum(each.cells**2 for each in levels),), -1, device=device)
    x0, y0, x1, y1 = target.boxes.float().unbind(1)
    down, across = (target.masks.sum(axis, dtype=torch.float32) for axis in (2, 1))
    areas = down.sum(1)
    y, x = (_center(profile, areas) for profile in (down, across))
    sizes = ((x1 - x0) * (y1 - y0)).sqrt()
    ranks = areas + height * width * (target.weights == 0)
    owners = []
    for level in levels:
        own = (sizes >= level.least) & (sizes <= level.most)
        rows = _touched(y, (y1 - y0) * center, height, level.cells)
        columns = _touched(x, (x1 - x0) * center, width, level.cells)
        inside = rows[:, :, None] & columns[:, None, :] & own[:, None, None]
        claims = ranks[:, None, None].where(inside, torch.inf)
        least, owner = claims.min(0)
        owners.append(owner.where(least.isfinite(), -1).flatten())
    return torch.cat(owners)


def _center(profile: Tensor, areas: Tensor) -> Tensor:
    """Centers of mass `[K]` in pixels of the profiles `[K, L]` along one axis."""
    places = torch.arange(profile.shape[1], device=profile.device) + 0.5
    return (profile * places).sum(1) / areas


def _touched(centers: Tensor, lengths: Tensor, side: int, cells: int) -> Tensor:
    """`[K, cells]` bool: cells along one axis touched by intervals of `lengths` at `centers`."""

    def cell(place: Tensor) -> Tensor:
        return (place / side * cells).floor()

    middle = cell(centers)
    first = cell(centers - lengths / 2).maximum(middle - 1)
    last = cell(centers + lengths / 2).minimum(middle + 1)
    index = torch.arange(cells, device=centers.device)
    return (index >= first[:, None]) & (index <= last[:, None])
