"""The shortest paths against SciPy's, one start at a time over an explicit graph."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import dijkstra

from p2seg.ops.geodesic import NEIGHBORS, geodesic_owners


def lengths(regions: np.ndarray, guide: np.ndarray) -> np.ndarray:
    """`[H W, H W]`, the length of the shortest path between any two pixels of one image."""
    height, width = regions.shape
    graph = np.zeros((height * width, height * width))
    for y in range(height):
        for x in range(width):
            for dy, dx in NEIGHBORS.tolist():
                v, u = y + dy, x + dx
                inside = 0 <= v < height and 0 <= u < width
                if inside and 0 < regions[y, x] == regions[v, u]:
                    change = guide[:, v, u] - guide[:, y, x]
                    step = math.sqrt(dy * dy + dx * dx + float(change @ change))
                    graph[y * width + x, v * width + u] = step
    return dijkstra(csr_matrix(graph))


@settings(max_examples=150, deadline=None)
@given(
    st.integers(0, 10**6),
    st.integers(1, 8),
    st.integers(1, 8),
    st.integers(1, 6),
    st.sampled_from(["flat", "steps", "any"]),  # paths tie often, at times, never
)
def test_they_are_the_shortest(seed, height, width, count, kind):
    random = np.random.default_rng(seed)
    regions = random.integers(0, 3, (2, height, width))
    guide = random.normal(0, 2, (2, 3, height, width)).astype(np.float32)
    if kind != "any":
        guide = random.choice([0, 3 * (kind == "steps")], guide.shape).astype(np.float32)
    starts = random.integers(0, height * width + 1, (2, count))
    given = torch.from_numpy(regions).int(), torch.from_numpy(starts), torch.from_numpy(guide)
    owner = geodesic_owners(*given)
    for b in range(2):
        length = lengths(regions[b], guide[b])
        where = [int(at) for at in starts[b]]
        own = {}  # the first of several on a pixel
        for k, at in enumerate(where):
            if at < height * width and regions[b].flat[at] > 0:
                own.setdefault(at, k)
        for pixel in range(height * width):
            if regions[b].flat[pixel] == 0:
                reached = []
            else:
                reached = sorted((length[at, pixel], k) for at, k in own.items())
                reached = [each for each in reached if each[0] < np.inf]
            made = int(owner[b].flatten()[pixel])
            assert (made > 0) == bool(reached)
            if reached:
                assert length[where[made - 1], pixel] == pytest.approx(reached[0][0], abs=1e-4)


def test_equally_near_pixels_go_to_the_first_start():
    owner = geodesic_owners(
        torch.ones(1, 1, 5, dtype=torch.int32), torch.tensor([[4, 0]]), torch.zeros(1, 1, 1, 5)
    )
    assert owner.tolist() == [[[2, 2, 1, 1, 1]]]


def test_large_pictures_do_not_overflow():
    side = 300  # raster indices above 16 bits
    regions = torch.ones(1, side, side, dtype=torch.int32)
    starts = torch.tensor([[0, side * side - 1]])
    owner = geodesic_owners(regions, starts, torch.zeros(1, 1, side, side))
    assert owner[0, 0, 1] == 1
    assert owner[0, -1, -2] == 2
    assert 0.49 < (owner == 1).float().mean() < 0.51
