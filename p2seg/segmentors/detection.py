"""Detections of a segmentation model, with soft masks and with binary masks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from p2seg.data.rle import encode

Box = tuple[float, float, float, float]
"""x0, y0, x1, y1 in pixels; integer coordinates are pixel edges, so a pixel is a box of side 1."""


@dataclass(frozen=True)
class Detection:
    """One detected instance.

    Attributes:
        label: class index 1..C.
        score: confidence, 0..1.
        box: x0, y0, x1, y1 in pixels of the image, see `Box`.
        rle: the mask, `{"size": [H, W], "counts": bytes}`.
    """

    label: int
    score: float
    box: Box
    rle: dict[str, Any]


class Detections(list[Detection]):
    """The detections of an image, best first.

    Args:
        detections: the detections.
        cut: whether the limit of objects per image has dropped further detections.
    """

    def __init__(self, detections: Iterable[Detection] = (), *, cut: bool = False) -> None:
        super().__init__(detections)
        self.cut = cut


@dataclass(frozen=True)
class SoftMask:
    """The probability of each pixel to belong to an instance, in the window where it is not 0.

    Attributes:
        top: first row of the window.
        left: first column of the window.
        values: `[h, w]` float in 0..1, on the CPU; 0 outside the window.
    """

    top: int
    left: int
    values: Tensor

    def mirrored(self, width: int) -> SoftMask:
        """The mask mirrored horizontally in an image of `width` pixels."""
        left = width - self.left - self.values.shape[1]
        return SoftMask(self.top, left, self.values.flip(1))

    def whole(self, height: int, width: int) -> NDArray[np.bool_]:
        """The binary mask `[height, width]` bool of all pixels with probability >= 0.5."""
        mask = np.zeros((height, width), dtype=bool)
        h, w = self.values.shape
        window = (self.values >= 0.5).numpy()
        mask[self.top : self.top + h, self.left : self.left + w] = window
        return mask


@dataclass(frozen=True)
class SoftDetection:
    """A detection with a soft mask.

    Attributes:
        label: class index 1..C.
        score: confidence, 0..1.
        box: the predicted box; None: the bounding box of the mask.
        mask: the soft mask in pixels of the image.
    """

    label: int
    score: float
    box: Box | None
    mask: SoftMask


def thresholded(candidates: list[SoftDetection], height: int, width: int, most: int) -> Detections:
    """Thresholds soft masks, and returns the detections with a non-empty mask, best first.

    Args:
        candidates: soft detections of the image, in any order.
        height: height of the image in pixels.
        width: width of the image in pixels.
        most: number of best candidates to keep, including those with an empty mask.
    """
    detections = Detections(cut=len(candidates) > most)
    for each in sorted(candidates, key=lambda one: -one.score)[:most]:
        mask = each.mask.whole(height, width)
        if mask.any():
            box = box_of(mask) if each.box is None else each.box
            detections.append(Detection(each.label, each.score, box, encode(mask)))
    return detections


def box_of(mask: NDArray[np.bool_]) -> Box:
    """The bounding box of a non-empty mask `[H, W]`."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)
