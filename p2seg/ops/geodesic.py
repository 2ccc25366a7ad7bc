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


def geodesic_owners(regions: Tensor, starts: Tensor, guide: Tensor) -> Tensor:
    """The geodesically nearest start of each pixel.

    A step goes to one of the 8 neighbors in the same region and costs
    `sqrt(|step|^2 + |guide change|^2)`. Runs on the CPU; GPU tensors are copied there and back.

    Args:
        regions: `[B, H, W]` int32, region numbers; region 0 is never entered.
        starts: `[B, K]` int64, raster index of each start pixel; H W: no start. Of several starts
            on one pixel, only the first is used.
        guide: `[B, G, H, W]` float32 in pixels: a change by 1 is as long as a step of 1 pixel.

    Returns:
        Owners `[B, H, W]` int64, k + 1 for the k-th start, 0 if no start reaches the pixel.
    """
    owner = torch.zeros(regions.shape, dtype=torch.int64)
    guide = guide.detach().float().movedim(1, -1)
    arrays = [each.contiguous().cpu().numpy() for each in (regions, starts, guide)]
    with ThreadPoolExecutor(min(len(regions), torch.get_num_threads())) as threads:
        list(threads.map(partial(_spread, NEIGHBORS), *arrays, owner.numpy()))
    return owner.to(regions.device)


@compiled
def _spread(neighbors: Array, regions: Array, starts: Array, guide: Array, owner: Array) -> None:
    """Dijkstra's algorithm from all starts at once; ties go to the first start."""
    height, width = regions.shape
    pixels = height * width
    near = np.full(pixels, np.inf, np.float32)  # length of the shortest known path
    whose = np.zeros(pixels, np.int32)
    settled = np.zeros(pixels, np.bool_)
    # open paths as (length, start * pixels + pixel); ties are ordered by the start's index
    heap = [(np.float32(0), np.int64(0)) for _ in range(0)]
    for k in range(len(starts)):
        at = starts[k]
        if at < pixels and regions[at // width, at % width] > 0 and whose[at] == 0:
            near[at] = 0
            whose[at] = k + 1
            heappush(heap, (np.float32(0), np.int64((k + 1) * pixels + at)))
    while len(heap) > 0:
        far, both = heappop(heap)
        who, at = both // pixels, both % pixels
        if settled[at] or whose[at] != who or far > near[at]:
            continue
        settled[at] = True
        y, x = at // width, at % width
        owner[y, x] = who
        for n in range(len(neighbors)):
            dy, dx = neighbors[n]
            v, u = y + dy, x + dx
            if v < 0 or u < 0 or v >= height or u >= width or regions[v, u] != regions[y, x]:
                continue
            to = v * width + u
            if settled[to]:
                continue
            square = np.float32(dy * dy + dx * dx)
            for g in range(guide.shape[2]):
                change = guide[v, u, g] - guide[y, x, g]
                square += change * change
            length = far + np.sqrt(square)
            if length < near[to] or (length == near[to] and who < whose[to]):
                near[to], whose[to] = length, who
                heappush(heap, (length, np.int64(who * pixels + to)))
