"""The owner of a pixel against a slow loop, for both ways."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from p2seg.ops import owners as package
from p2seg.ops.owners import cpu, owners

triton = pytest.importorskip("p2seg.ops.owners.triton")
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"  # or Triton's interpreter


def of_one(regions, sole, keys, candidates, candidate_keys, offset, origin, y, x):
    """The slow twin: the owner of one pixel of one image."""
    region = int(regions[y, x])
    if sole[region]:
        return int(sole[region])
    own = [k for k in range(len(candidates)) if 0 < keys[region] == candidate_keys[k]]
    at = [y + origin, x + origin]
    if offset is not None:
        at = [p + float(o) for p, o in zip(at, offset[:, y, x], strict=True)]
    near = sorted((math.dist(at, candidates[k].tolist()), k) for k in own)
    return near[0][1] + 1 if near else 0


@pytest.mark.parametrize("way", [cpu, triton], ids=["cpu", "triton"])
@settings(max_examples=40, deadline=None)
@given(st.data())
def test_it_equals_the_slow_loop(way, data):
    random = torch.Generator().manual_seed(data.draw(st.integers(0, 10**6)))
    height, width = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 6))
    count = data.draw(st.integers(1, 9))
    regions = torch.randint(0, 5, (2, height, width), generator=random, dtype=torch.int32)
    sole = torch.randint(-count, count + 1, (2, 5), generator=random).clamp(min=0)
    keys = torch.randint(0, 4, (2, 5), generator=random)
    # halves: distances tie exactly or differ clearly
    candidates = torch.randint(-8, 20, (2, count, 2), generator=random) / 2
    candidate_keys = torch.randint(0, 4, (2, count), generator=random)
    moved = torch.randint(-8, 8, (2, 2, height, width), generator=random) / 2
    offset, origin = (moved, 1.5) if data.draw(st.booleans()) else (None, 0.0)
    given = (regions, sole, keys, candidates, candidate_keys, offset)
    there = [
        None if each is None else each.to(DEVICE if way is triton else "cpu") for each in given
    ]
    with pytest.MonkeyPatch.context() as patch:
        if way is triton:
            patch.setattr(package, "fused", lambda _: True)
        owner = owners(*there, origin).cpu()
    for b in range(2):
        one = [None if each is None else each[b] for each in given]
        for y in range(height):
            for x in range(width):
                assert owner[b, y, x] == of_one(*one, origin, y, x)
