"""Connected regions on the CPU: one raster scan with union-find, all labels at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from p2seg.ops._kernels import compiled

Integers = np.ndarray[Any, np.dtype[Any]]


def connected_components(labels: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """As `p2seg.ops.components.connected_components`; numbers are 1, 2, .. by first pixel."""
    numbers = torch.empty(labels.shape, dtype=torch.int32)
    kinds = np.zeros((len(labels), labels[0].numel() + 1), np.int64)  # most of it is never touched
    given = [each.contiguous().cpu().numpy() for each in (labels, wanted)]
    images = zip(*given, numbers.numpy(), kinds, strict=True)
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
    """Fills the numbers and the label of each number; gives how many there are.

    The pixel above touches the three others that come before a pixel, and the one above left the
    one to the left. So trees meet only where the one above right is of the label, and the one
    above is not.
    """
    height, width = labels.shape
    parent = np.empty(height * width + 1, np.int32)
    found = 0
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
                    found += 1
                    parent[found] = found
                    kinds[found] = own
                    before = found
                numbers[y, x] = before
    final = 0
    for a in range(1, found + 1):  # a tree's root comes before the rest of it
        if parent[a] == a:
            final += 1
            kinds[final] = kinds[a]
            parent[a] = final
        else:
            parent[a] = parent[parent[a]]
    parent[0] = 0
    kinds[final + 1 : found + 1] = 0
    for y in range(height):
        for x in range(width):
            numbers[y, x] = parent[numbers[y, x]]
    return final
