"""Connected components on the CPU: one raster scan with union-find for all labels."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from p2seg.ops._kernels import compiled

Integers = np.ndarray[Any, np.dtype[Any]]


def connected_components(labels: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """See `p2seg.ops.components.connected_components`; numbers are 1, 2, ... by first pixel."""
    numbers = torch.empty(labels.shape, dtype=torch.int32)
    kinds = np.zeros((len(labels), labels[0].numel() + 1), np.int64)  # pages are allocated lazily
    arrays = [each.contiguous().cpu().numpy() for each in (labels, wanted)]
    images = zip(*arrays, numbers.numpy(), kinds, strict=True)
    most = max(_regions(*image) for image in images)
    kinds = np.ascontiguousarray(kinds[:, : most + 1])
    return numbers.to(labels.device), torch.from_numpy(kinds).to(labels.device)


@compiled
def _root(parent: Integers, a: int) -> int:
    while parent[a] < a:
        parent[a] = parent[parent[a]]
        a = parent[a]
    return a


@compiled
def _regions(labels: Integers, wanted: Integers, numbers: Integers, kinds: Integers) -> int:
    """Fills `numbers` and the label of each number in `kinds`; returns the number of components.

    Of the four neighbors that come before a pixel, the one above is adjacent to the other three,
    and the upper left one is adjacent to the left one. So two trees can only be joined if the
    upper right neighbor has the pixel's label and the one above has not.
    """
    height, width = labels.shape
    parent = np.empty(height * width + 1, np.int32)
    count = 0
    for y in range(height):
        for x in range(width):
            own = labels[y, x]
            if own == 0 or not wanted[own]:
                numbers[y, x] = 0
            elif y > 0 and labels[y - 1, x] == own:
                numbers[y, x] = numbers[y - 1, x]
            else:
                before = 0
                if x > 0 and labels[y, x - 1] == own:
                    before = numbers[y, x - 1]
                elif x > 0 and y > 0 and labels[y - 1, x - 1] == own:
                    before = numbers[y - 1, x - 1]
                if y > 0 and x + 1 < width and labels[y - 1, x + 1] == own:
                    after = numbers[y - 1, x + 1]
                    if before > 0 and before != after:
                        a = _root(parent, before)
                        b = _root(parent, after)
                        parent[max(a, b)] = min(a, b)
                    before = after
                elif before == 0:
                    count += 1
                    parent[count] = count
                    kinds[count] = own
                    before = count
                numbers[y, x] = before
    final = 0
    for a in range(1, count + 1):  # the root of a tree has its smallest number
        if parent[a] == a:
            final += 1
            kinds[final] = kinds[a]
            parent[a] = final
        else:
            parent[a] = parent[parent[a]]
    parent[0] = 0
    kinds[final + 1 : count + 1] = 0
    for y in range(height):
        for x in range(width):
            numbers[y, x] = parent[numbers[y, x]]
    return final
