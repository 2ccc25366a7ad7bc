"""Assigns pixels to points by geodesic distance, the length of the shortest path inside a region.

The length of a step is the distance of its two pixels in the joint space of position and color.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from heapq import heappop, heappush
from typing import Any

import numpy as np
import torch
from torch import Tensor

from p2seg.ops._kernels import compiled

Array = np.ndarray[Any, np.dtype[Any]]
NEIGHBORS = np.array(
    [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx], dtype=np.int64
)


def geodesic_owners(
    regions: Tensor, starts: Tensor, guide: Tensor, *, margins: bool = True
) -> tuple[Tensor, Tensor]:
    """The geodesically nearest start of each pixel, and its margin over the second nearest.

    A step goes to one of the 8 neighbors in the same region and costs
    `sqrt(|step|^2 + |guide change|^2)`. Runs on the CPU; GPU tensors are copied there and back.

    Args:
        regions: `[B, H, W]` int32, region numbers; region 0 is never entered.
        starts: `[B, K]` int64, raster index of each start pixel; H W: no start. Of several starts
            on one pixel, only the first is used.
        guide: `[B, G, H, W]` float32 in pixels: a change by 1 is as long as a step of 1 pixel.
        margins: whether to compute margins, which doubles the run time.

    Returns:
        Owners `[B, H, W]` int64, k + 1 for the k-th start, 0 if no start reaches the pixel; and
        margins `[B, H, W]` float32, `(d2 - d1) / (d2 + d1)` of the two shortest distances. The
        margin is 1 if only one start reaches the pixel or `margins` is false, 0 if none does.
    """
    owner = torch.zeros(regions.shape, dtype=torch.int64)
    margin = torch.zeros(regions.shape, dtype=torch.float32)
    guide = guide.detach().float().movedim(1, -1)
    arrays = [each.contiguous().cpu().numpy() for each in (regions, starts, guide)]
    with ThreadPoolExecutor(min(len(regions), torch.get_num_threads())) as threads:
        list(
            threads.map(
                partial(_spread, NEIGHBORS, 1 + margins), *arrays, owner.numpy(), margin.numpy()
            )
        )
    return owner.to(regions.device), margin.to(regions.device)


@compiled
def _spread(
    neighbors: Array,
    most: int,
    regions: Array,
    starts: Array,
    guide: Array,
    owner: Array,
    margin: Array,
) -> None:
    """Dijkstra's algorithm from all starts at once, until `most` starts have settled each pixel."""
    height, width = regions.shape
    pixels = height * width
    near = np.full((2, pixels), np.inf, np.float32)  # lengths of the shortest known paths
    whose = np.zeros((2, pixels), np.int32)
    settled = np.zeros(pixels, np.uint8)
    # open paths as (length, start * pixels + pixel); ties are ordered by the start's index
    heap = [(np.float32(0), np.int64(0)) for _ in range(0)]
    for k in range(len(starts)):
        at = starts[k]
        if at < pixels and regions[at // width, at % width] > 0 and whose[0, at] == 0:
            near[0, at] = 0
            whose[0, at] = k + 1
            heappush(heap, (np.float32(0), np.int64((k + 1) * pixels + at)))
    while len(heap) > 0:
        far, both = heappop(heap)
        who, at = both // pixels, both % pixels
        place = settled[at]
        if place == most or whose[place, at] != who or far > near[place, at]:
            continue
        settled[at] = place + 1
        y, x = at // width, at % width
        for n in range(len(neighbors)):
            dy, dx = neighbors[n]
            v, u = y + dy, x + dx
            if v < 0 or u < 0 or v >= height or u >= width or regions[v, u] != regions[y, x]:
                continue
            to = v * width + u
            if settled[to] == most or (settled[to] == 1 and whose[0, to] == who):
                continue
            square = np.float32(dy * dy + dx * dx)
            for g in range(guide.shape[2]):
                change = guide[v, u, g] - guide[y, x, g]
                square += change * change
            length = far + np.sqrt(square)
            if _known(near, whose, settled, to, length, who, most):
                heappush(heap, (length, np.int64(who * pixels + to)))
    for at in range(pixels):
        if settled[at] > 0:
            d1, d2 = near[0, at], near[1, at]
            y, x = at // width, at % width
            owner[y, x] = whose[0, at]
            clear = (d2 - d1) / max(d2 + d1, np.float32(1e-6)) if settled[at] == 2 else 1.0
            margin[y, x] = clear


@compiled
def _known(
    near: Array, whose: Array, settled: Array, to: int, length: Any, who: Any, most: int
) -> bool:
    """Stores a path to a pixel if it is among the `most` shortest of different starts."""
    if whose[0, to] == who:
        if length >= near[0, to]:
            return False
        near[0, to] = length
        return True
    if settled[to] == 0 and _before(length, who, near[0, to], whose[0, to]):
        near[1, to], whose[1, to] = near[0, to], whose[0, to]
        near[0, to], whose[0, to] = length, who
        return True
    if most == 2 and _before(length, who, near[1, to], whose[1, to]):
        near[1, to], whose[1, to] = length, who
        return True
    return False


@compiled
def _before(length: Any, who: Any, other: Any, whose: Any) -> bool:
    """The order of the heap: by length, then by the index of the start."""
    return bool(length < other or (length == other and who < whose))
