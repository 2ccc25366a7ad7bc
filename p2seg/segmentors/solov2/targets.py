"""Which cells of SOLOv2's grids answer for which instance."""

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
        cells: the level's grid has `cells` x `cells`.
        least: it answers for instances from this size on: the square root of the box's area.
        most: to this size, in pixels of the network's input.
        stride: input pixels a cell of the map that the grid is resized from.
    """

    cells: int
    least: float
    most: float
    stride: int


def grid_owners(
    target: InstanceTarget, levels: Sequence[GridLevel], center: float, height: int, width: int
) -> Tensor:
    """The instance that each cell of every level answers for.

    An instance owns the cells that the middle of its box touches: a region of `center` times the
    box's sides around the mask's center of mass, at most one cell away from the cell of the center
    itself (Wang et al. 2020, SOLO, Sec. 3.3.1). Of several instances a cell takes the smallest; one
    of weight 0 gets only cells that nobody else claims.

    Args:
        target: K instances.
        levels: of the grids.
        center: share of the box's sides.
        height: of the padded input, which the grids divide; pixels.
        width: of the padded input, pixels.

    Returns:
        `[G]` int64, all levels behind each other, row by row: an index 0..K-1, or -1 for none.
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
    """`[K]` centers of mass, in pixels from the edge, of `[K, L]` counts along a line."""
    places = torch.arange(profile.shape[1], device=profile.device) + 0.5
    return (profile * places).sum(1) / areas


def _touched(centers: Tensor, lengths: Tensor, side: int, cells: int) -> Tensor:
    """`[K, cells]` bool: the cells of a line that regions of `lengths` around `centers` touch."""

    def cell(place: Tensor) -> Tensor:
        return (place / side * cells).floor()

    middle = cell(centers)
    first = cell(centers - lengths / 2).maximum(middle - 1)
    last = cell(centers + lengths / 2).minimum(middle + 1)
    index = torch.arange(cells, device=centers.device)
    return (index >= first[:, None]) & (index <= last[:, None])
