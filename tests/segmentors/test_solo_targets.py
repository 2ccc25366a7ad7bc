"""Which cells answer for which instance, against a loop over instances and cells."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from p2seg.segmentors.data import target_of
from p2seg.segmentors.solov2.targets import GridLevel, grid_owners

LEVELS = (GridLevel(12, 1, 14, 8), GridLevel(9, 8, 24, 8), GridLevel(5, 20, 512, 16))


def slow_owners(masks, levels, center, height, width):
    """Instance by instance, cell by cell."""
    facts = []
    for mask in masks:
        ys, xs = np.nonzero(mask)
        h, w = ys.max() + 1 - ys.min(), xs.max() + 1 - xs.min()
        y, x = (ys + 0.5).mean(), (xs + 0.5).mean()
        facts.append((len(ys), math.sqrt(h * w), y, x, h * center / 2, w * center / 2))
    owners = []
    for level in levels:
        n = level.cells
        for i in range(n):
            for j in range(n):
                best = (math.inf, -1)
                for k, (area, size, y, x, dy, dx) in enumerate(facts):
                    if not level.least <= size <= level.most:
                        continue
                    # the cell holds a part of the region around the center of mass ...
                    touches = (
                        i / n * height <= y + dy + 1e-9
                        and (i + 1) / n * height > y - dy + 1e-9
                        and j / n * width <= x + dx + 1e-9
                        and (j + 1) / n * width > x - dx + 1e-9
                    )
                    # ... and is the center's cell or one beside it
                    row, column = math.floor(y / height * n), math.floor(x / width * n)
                    if touches and abs(i - row) <= 1 and abs(j - column) <= 1:
                        best = min(best, (area, k))
                owners.append(best[1])
    return owners


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 10**6),
    st.integers(1, 6),
    st.sampled_from([(64, 64), (64, 96), (32, 128)]),
    st.sampled_from([0.1, 0.2, 0.45, 0.9]),
)
def test_is_the_loop_over_instances_and_cells(seed, count, size, center):
    random = np.random.default_rng(seed)
    height, width = size
    masks = np.zeros((count, height, width), np.uint8)
    for mask in masks:
        h, w = random.integers(1, height), random.integers(1, width)
        y, x = random.integers(0, height - h + 1), random.integers(0, width - w + 1)
        mask[y : y + h, x : x + w] = random.random((h, w)) < 0.7
        mask[y, x] = 1
    # padded at the bottom and right: the grid divides the padded input
    padded = (height + 32, width)
    target = target_of(torch.from_numpy(masks), torch.arange(1, count + 1))
    owners = grid_owners(target, LEVELS, center, *padded)
    expected = slow_owners(masks, LEVELS, center, *padded)
    different = sum(a != b for a, b in zip(owners.tolist(), expected, strict=True))
    # a region may end on the border of a cell, where float32 and float64 differ
    assert different <= 1
    assert owners.dtype == torch.int64


def test_without_an_instance_no_cell_has_one():
    target = target_of(torch.zeros(0, 32, 32).byte(), torch.zeros(0, dtype=torch.int64))
    owners = grid_owners(target, LEVELS, 0.2, 32, 32)
    assert owners.shape == (12**2 + 9**2 + 5**2,)
    assert (owners == -1).all()


def test_a_small_instance_lies_over_a_large_one():
    masks = torch.zeros(2, 64, 64).byte()
    masks[0, 8:56, 8:56] = 1
    masks[1, 20:44, 20:44] = 1
    target = target_of(masks, torch.tensor([1, 2]))
    both = (GridLevel(8, 1, 512, 8),)
    owners = grid_owners(target, both, 0.2, 64, 64).unflatten(0, (8, 8))
    assert owners[4, 4] == 1
    assert 0 not in owners


@pytest.mark.parametrize(("size", "levels"), [(6, [0]), (12, [0, 1]), (22, [1, 2]), (60, [2])])
def test_levels_answer_for_their_sizes(size, levels):
    masks = torch.zeros(1, 64, 64).byte()
    masks[0, :size, :size] = 1
    target = target_of(masks, torch.tensor([1]))
    owners = grid_owners(target, LEVELS, 0.2, 64, 64).split([each.cells**2 for each in LEVELS])
    assert [k for k, own in enumerate(owners) if (own == 0).any()] == levels


def test_an_instance_of_weight_zero_takes_no_cell_of_another():
    masks = torch.zeros(2, 64, 64).byte()
    masks[0, 8:56, 8:56] = 1
    masks[1, 20:44, 20:44] = 1
    weights = (torch.tensor([1.0, 0.0]), torch.tensor([1.0, 0.0]))
    target = target_of(masks, torch.tensor([1, 2]), weights)
    owners = grid_owners(target, (GridLevel(8, 1, 512, 8),), 0.2, 64, 64)
    large = target_of(masks[:1], torch.tensor([1]))
    alone = grid_owners(large, (GridLevel(8, 1, 512, 8),), 0.2, 64, 64)
    assert torch.equal(owners == 0, alone == 0)
