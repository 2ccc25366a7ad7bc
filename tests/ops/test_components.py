"""Regions against SciPy's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from p2seg.ops.components import connected_components

triton = pytest.importorskip("p2seg.ops.components.triton")
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"  # or Triton's interpreter


def fused(labels: torch.Tensor, wanted: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """By the Triton kernel."""
    made, kinds = triton.connected_components(labels.to(DEVICE), wanted.to(DEVICE))
    return made.cpu(), kinds.cpu()


def same_partition(
    made: torch.Tensor, kinds: torch.Tensor, labels: torch.Tensor, wanted: torch.Tensor
) -> None:
    """Regions of one image against SciPy's, a label at a time."""
    labels = labels * wanted[labels]
    want = np.zeros(labels.shape, np.int64)
    for label in labels.unique().tolist():
        if label:
            regions, _ = ndimage.label((labels == label).numpy(), structure=[[1] * 3] * 3)
            want = np.where(regions > 0, regions + want.max(), want)
    pairs = set(zip(made.flatten().tolist(), want.reshape(-1).tolist(), strict=True))
    assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})
    assert all((a == 0) == (b == 0) for a, b in pairs)
    assert 0 <= made.min() <= made.max() < len(kinds)
    assert torch.equal(kinds[made.long()], labels)


@pytest.mark.parametrize("components", [connected_components, fused])
@settings(max_examples=60, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.data())
def test_regions_are_the_same_partition_as_scipys(components, height, width, data):
    size = 2 * height * width
    flat = data.draw(st.lists(st.integers(0, 2), min_size=size, max_size=size))
    labels = torch.tensor(flat).reshape(2, height, width)
    wanted = torch.tensor(data.draw(st.lists(st.booleans(), min_size=6, max_size=6))).view(2, 3)
    for image in zip(*components(labels, wanted), labels, wanted, strict=True):
        same_partition(*image)


def spiral(side: int) -> torch.Tensor:
    """A path one pixel wide that winds to the middle, one pixel of ground beside it."""
    labels = torch.zeros(side, side, dtype=torch.long)
    y, x, dy, dx = 0, 0, 0, 1
    labels[0, 0] = 1
    for length in [side - 1, *(n for k in range(side - 1, 1, -2) for n in (k, k))]:
        for _ in range(length):
            y, x = y + dy, x + dx
            labels[y, x] = 1
        dy, dx = dx, -dy
    return labels


@pytest.mark.parametrize("components", [connected_components, fused])
def test_shapes_that_are_hard_to_join(components):
    side = 33
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    comb = ((x % 2 == 0) | (y == side - 1)).long()  # teeth that meet in the last row alone
    shapes = {
        "spiral": spiral(side),
        "spiral from the other end": spiral(side).flip(0, 1),
        "comb": comb,
        "checkerboard": (y + x) % 2,  # joined by its corners
        "two checkerboards": (y + x) % 2 + 1,
        "full": torch.ones(side, side, dtype=torch.long),
        "empty": torch.zeros(side, side, dtype=torch.long),
        "one pixel": ((y == 5) & (x == 7)).long(),
        "dots": ((y % 2 == 0) & (x % 2 == 0)).long(),
        "dots of three kinds": ((y % 2 == 0) & (x % 2 == 0))
        * (y // 2 % 3 + 1),  # 272 before the last
    }
    labels = torch.stack(list(shapes.values()))
    wanted = torch.ones(len(labels), 4, dtype=torch.bool)
    for image in zip(*components(labels, wanted), labels, wanted, strict=True):
        same_partition(*image)
