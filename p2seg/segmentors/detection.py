"""What every segmentor gives of an image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


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
    box: tuple[float, float, float, float]
    rle: dict[str, Any]
