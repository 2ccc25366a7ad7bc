"""Regions against SciPy's."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from p2seg.ops.components import connected_components


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.data())
def test_regions_are_the_same_partition_as_scipys(height, width, data):
    bits = data.draw(st.lists(st.booleans(), min_size=height * width, max_size=height * width))
    mask = torch.tensor(bits).reshape(height, width)
    made = connected_components(mask)
    want, n = ndimage.label(mask.numpy(), structure=[[1] * 3] * 3)
    pairs = {
        (a, b) for a, b in zip(made.flatten().tolist(), want.reshape(-1).tolist(), strict=True)
    }
    assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})
    assert int(made.max()) == n
    assert all((a == 0) == (b == 0) for a, b in pairs)
