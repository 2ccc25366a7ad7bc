"""Soft masks that store the network's cells, and are resampled to pixels on access."""

from __future__ import annotations

import torch
from torch import Tensor

from p2seg.segmentors.detection import SoftMask
from p2seg.segmentors.resample import interpolation, resample


class CellMask(SoftMask):
    """A soft mask that stores only its cells, because the pixels of 100 masks can need gigabytes.

    Args:
        logits: `[h, w]` float on the CPU, resampled before the sigmoid.
        rows: `[H]` float, position of each pixel row of the window in cells; the center of the
            first cell is at 0.
        columns: `[W]` float, the same for pixel columns.
        top: first row of the window.
        left: first column of the window.
    """

    def __init__(self, logits: Tensor, rows: Tensor, columns: Tensor, top: int, left: int) -> None:
        vars(self).update(logits=logits, rows=rows, columns=columns, top=top, left=left)

    def mirrored(self, width: int) -> SoftMask:
        """The mask mirrored horizontally in an image of `width` pixels."""
        logits, rows, columns = (vars(self)[name] for name in ("logits", "rows", "columns"))
        left = width - self.left - len(columns)
        across = (logits.shape[1] - 1 - columns).flip(0)
        return CellMask(logits.flip(1), rows, across, self.top, left)

    @property
    def values(self) -> Tensor:
        """`[H, W]` float in 0..1, computed on each access."""
        logits, rows, columns = (vars(self)[name] for name in ("logits", "rows", "columns"))
        h, w = logits.shape
        return resample(logits, interpolation(rows, h), interpolation(columns, w)).sigmoid()


def cell_mask(logits: Tensor, side: tuple[float, float], size: tuple[int, int]) -> CellMask:
    """The mask in the window around all cells with a logit > 0.

    Args:
        logits: `[h, w]` float on the CPU, at least one > 0; the first cell begins at the corner of
            the image.
        side: (height, width) of a cell in pixels of the image.
        size: (height, width) of the image.
    """
    inside = logits > 0
    lines, windows = [], []
    for axis in (0, 1):
        own = inside.any(1 - axis).nonzero()[:, 0]
        first, last = max(0, int(own[0]) - 1), min(logits.shape[axis] - 1, int(own[-1]) + 1)
        places = (torch.arange(size[axis]) + 0.5) / side[axis] - 0.5
        # The window ends at the next cell with a logit <= 0, or at the border of the image.
        low = first if int(own[0]) else -1
        high = last if int(own[-1]) < logits.shape[axis] - 1 else last + 1
        near = ((places > low) & (places < high)).nonzero()[:, 0]
        lines.append((int(near[0]) if len(near) else 0, places[near] - first))
        windows.append(slice(first, last + 1))
    (top, rows), (left, columns) = lines
    return CellMask(logits[windows[0], windows[1]].clone(), rows, columns, top, left)
