"""Masks at a network's cells, brought to the pixels of their image when they are asked for."""

from __future__ import annotations

import torch
from torch import Tensor

from p2seg.segmentors.detection import SoftMask
from p2seg.segmentors.resample import interpolation, resample


class CellMask(SoftMask):
    """A soft mask that keeps its cells alone: the pixels of a hundred of a photograph are GBs.

    Args:
        logits: `[h, w]` float on the CPU; the cells are resampled, and then made probabilities.
        rows: `[H]` float, where the rows of the window lie among the cells; the first has its
            center at 0.
        columns: `[W]`, the same of its columns.
        top: first row of the window.
        left: first column of the window.
    """

    def __init__(self, logits: Tensor, rows: Tensor, columns: Tensor, top: int, left: int) -> None:
        vars(self).update(logits=logits, rows=rows, columns=columns, top=top, left=left)

    def mirrored(self, width: int) -> SoftMask:
        """The same in an image of `width` pixels, left and right exchanged; cells are kept."""
        logits, rows, columns = (vars(self)[name] for name in ("logits", "rows", "columns"))
        left = width - self.left - len(columns)
        across = (logits.shape[1] - 1 - columns).flip(0)
        return CellMask(logits.flip(1), rows, across, self.top, left)

    @property
    def values(self) -> Tensor:
        """`[H, W]` float in 0..1, made anew each time."""
        logits, rows, columns = (vars(self)[name] for name in ("logits", "rows", "columns"))
        h, w = logits.shape
        return resample(logits, interpolation(rows, h), interpolation(columns, w)).sigmoid()


def cell_mask(logits: Tensor, side: tuple[float, float], size: tuple[int, int]) -> CellMask:
    """The mask of the pixels around the cells that are above 0.

    Args:
        logits: `[h, w]` float on the CPU, one of them above 0; the cells begin at the image's
            corner.
        side: pixels of the image that a cell is high and wide.
        size: (height, width) of the image.
    """
    inside = logits > 0
    lines, windows = [], []
    for axis in (0, 1):
        own = inside.any(1 - axis).nonzero()[:, 0]
        first, last = max(0, int(own[0]) - 1), min(logits.shape[axis] - 1, int(own[-1]) + 1)
        places = (torch.arange(size[axis]) + 0.5) / side[axis] - 0.5
        # beyond a cell of no more than 0 there is nothing; before the first cell it goes on
        low = first if int(own[0]) else -1
        high = last if int(own[-1]) < logits.shape[axis] - 1 else last + 1
        near = ((places > low) & (places < high)).nonzero()[:, 0]
        lines.append((int(near[0]) if len(near) else 0, places[near] - first))
        windows.append(slice(first, last + 1))
    (top, rows), (left, columns) = lines
    return CellMask(logits[windows[0], windows[1]].clone(), rows, columns, top, left)
