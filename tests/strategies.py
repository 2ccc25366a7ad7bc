"""Random inputs for property tests."""

from __future__ import annotations

import torch
from hypothesis import strategies as st

from p2seg.structures import Points


def points_of(yx: list[tuple[float, float]], labels: list[int]) -> Points:
    """Points with ids 1, 2, ..."""
    return Points(
        torch.tensor(yx, dtype=torch.float32).reshape(-1, 2),
        torch.tensor(labels, dtype=torch.int64),
        torch.arange(1, len(labels) + 1),
    )


@st.composite
def scenes(draw: st.DrawFn, num_classes: int = 3) -> tuple[torch.Tensor, Points]:
    """A small semantic map with 255, and points; some are off their class or on one pixel."""
    height, width = draw(st.integers(1, 12)), draw(st.integers(1, 12))
    values = st.sampled_from([0, 0, 255, *range(1, num_classes + 1)])
    flat = draw(st.lists(values, min_size=height * width, max_size=height * width))
    count = draw(st.integers(0, 6))
    yx = [
        (float(draw(st.integers(0, height - 1))), float(draw(st.integers(0, width - 1))))
        for _ in range(count)
    ]
    labels = [draw(st.integers(1, num_classes)) for _ in range(count)]
    return torch.tensor(flat).reshape(height, width), points_of(yx, labels)
