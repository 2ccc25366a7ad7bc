"""The nearest candidate against a slow loop, for both ways."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from p2seg.ops.nearest import nearest

triton = pytest.importorskip("p2seg.ops.nearest.triton")
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"  # or Triton's interpreter


def fused(*tensors: torch.Tensor) -> list[torch.Tensor]:
    """By the Triton kernel."""
    return [each.cpu() for each in triton.nearest(*(each.to(DEVICE) for each in tensors))]


@pytest.mark.parametrize("way", [nearest, fused])
@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(1, 6), st.integers(1, 9))
def test_it_equals_the_slow_loop(way, seed, height, width, count):
    random = torch.Generator().manual_seed(seed)
    # halves: distances tie exactly or differ clearly
    positions = torch.randint(-8, 20, (2, 2, height, width), generator=random) / 2
    keys = torch.randint(0, 4, (2, height, width), generator=random)
    candidates = torch.randint(-8, 20, (2, count, 2), generator=random) / 2
    candidate_keys = torch.randint(0, 4, (2, count), generator=random)
    owner, margin = way(positions, keys, candidates, candidate_keys)
    for b in range(2):
        for y in range(height):
            for x in range(width):
                own = [k for k in range(count) if 0 < keys[b, y, x] == candidate_keys[b, k]]
                at = positions[b, :, y, x].tolist()
                distance = sorted((math.dist(at, candidates[b, k].tolist()), k) for k in own)
                assert owner[b, y, x] == (distance[0][1] + 1 if own else 0)
                if len(own) > 1:
                    (d1, _), (d2, _) = distance[:2]
                    want = (d2 - d1) / max(d2 + d1, 1e-6)
                else:
                    want = len(own)
                assert float(margin[b, y, x]) == pytest.approx(want, abs=1e-5)
