"""Which point owns each pixel by geodesic distance: the shortest path inside the pixel's region.

A step of a path is as long as the two pixels are apart in the space of positions and guides (the
colors).
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
    """The geodesically nearest start of every pixel.

    A step goes to one of the 8 neighbors with the same region number and costs
    `sqrt(|step|^2 + |guide change|^2)`. On the CPU; tensors on a GPU go there and back.

    Args:
        regions: `[B, H, W]` int32; nothing reaches 0.
        starts: `[B, K]` int64, raster index of the pixel that a path starts from; H W: none. Of
            several on one pixel the first one counts.
        guide: `[B, G, H, W]` float32, in pixels: a change by 1 is as far as a pixel.

    Returns:
        `[B, H, W]` int64: 0 where no start reaches, k + 1 the k-th start.
    """
    owner = torch.zeros(regions.shape, dtype=torch.int64)
    guide = guide.detach().float().movedim(1, -1)
    given = [each.contiguous().cpu().numpy() for each in (regions, starts, guide)]
    with ThreadPoolExecutor(min(len(regions), torch.get_num_threads())) as threads:
        list(threads.map(partial(_spread, NEIGHBORS), *given, owner.numpy()))
    return owner.to(regions.device)


@compiled
def _spread(neighbors: Array, regions: Array, starts: Array, guide: Array, owner: Array) -> None:
    """Dijkstra's algorithm from all starts at once. Of equally long paths the one from the first
    start counts."""
    height, width = regions.shape
    pixels = height * width
    near = np.full(pixels, np.inf, np.float32)  # the shortest known path
    whose = np.zeros(pixels, np.int32)
    settled = np.zeros(pixels, np.bool_)
    # open paths: length, and start and pixel in one number, which orders equally long ones
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
