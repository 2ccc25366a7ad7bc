"""What a segmentor finds in an image: soft masks in windows, and the detections made of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from p2seg.data.rle import encode

Box = tuple[float, float, float, float]
"""x0, y0, x1, y1 in pixels of the image, edge to edge."""


@dataclass(frozen=True)
class Detection:
    """One instance that a segmentor found.

    Attributes:
        label: class index 1..C.
        score: confidence, 0..1.
        box: x0, y0, x1, y1 in pixels of the image, edge to edge.
        rle: the mask, `{"size": [H, W], "counts": bytes}`.
    """

    label: int
    score: float
    box: Box
    rle: dict[str, Any]


class Detections(list[Detection]):
    """The detections of an image, best first.

    Args:
        found: the detections.
        cut: whether the image has more, which the limit of objects per image has dropped.
    """

    def __init__(self, found: Iterable[Detection] = (), *, cut: bool = False) -> None:
        super().__init__(found)
        self.cut = cut


@dataclass(frozen=True)
class SoftMask:
    """The probability that pixels belong to an instance, in the window where it is not nothing.

    Attributes:
        top: first row of the window.
        left: first column of the window.
        values: `[h, w]` float in 0..1, on the CPU; 0 outside of the window.
    """

    top: int
    left: int
    values: Tensor

    def mirrored(self, width: int) -> SoftMask:
        """The same in an image of `width` pixels, left and right exchanged."""
        left = width - self.left - self.values.shape[1]
        return SoftMask(self.top, left, self.values.flip(1))

    def whole(self, height: int, width: int) -> NDArray[np.bool_]:
        """The pixels of at least a half, `[height, width]` bool."""
        mask = np.zeros((height, width), dtype=bool)
        h, w = self.values.shape
        window = (self.values >= 0.5).numpy()
        mask[self.top : self.top + h, self.left : self.left + w] = window
        return mask


@dataclass(frozen=True)
class Found:
    """A detection before its mask is decided.

    Attributes:
        label: class index 1..C.
        score: confidence, 0..1.
        box: where it was found, or None for that of its mask.
        mask: of the image's pixels.
    """

    label: int
    score: float
    box: Box | None
    mask: SoftMask


def decided(found: list[Found], height: int, width: int, most: int) -> Detections:
    """The detections of an image, best first, without those whose masks are empty.

    Args:
        found: of the image, in any order.
        height: of the image, pixels.
        width: of the image, pixels.
        most: how many are kept, the best; empty masks count.
    """
    detections = Detections(cut=len(found) > most)
    for each in sorted(found, key=lambda one: -one.score)[:most]:
        mask = each.mask.whole(height, width)
        if mask.any():
            box = box_of(mask) if each.box is None else each.box
            detections.append(Detection(each.label, each.score, box, encode(mask)))
    return detections


def box_of(mask: NDArray[np.bool_]) -> Box:
    """The box of a mask that is not empty."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)
