"""The interface of labelers, which assign the pixels of an image to points."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from p2seg.errors import UserError
from p2seg.structures import Points

DEFAULT_SCORE = 0.5
"""Score of a mask that is not from the network: a seed region or a default box."""


@dataclass(frozen=True)
class Labeled:
    """The instance map of one image.

    Attributes:
        semantic: `[H, W]` int64, the semantic map that was split into instances.
        instances: `[H, W]` int64, k + 1 for the k-th point, 0 for none.
        scores: `[K]` float32 in 0..1, mean probability of the point's class over its mask.
        from_seed: `[K]` bool, whether the mask is from the seed labels; None: all False.
    """

    semantic: Tensor
    instances: Tensor
    scores: Tensor
    from_seed: Tensor | None = None


class Labeler(Protocol):
    """Assigns each pixel of an image to a point."""

    @property
    def needs_image(self) -> bool:
        """Whether the labeler uses the image."""
        ...

    @property
    def on_gpu(self) -> bool:
        """Whether the labeler runs on a GPU."""
        ...

    def __call__(self, image: Tensor | None, points: Points, first: Tensor) -> Labeled:
        """Labels one image.

        Args:
            image: `[3, H, W]` uint8 RGB; may be None unless `needs_image`.
            points: points of the image.
            first: `[H, W]` int64, the initial semantic map.
        """
        ...


def check_odds(foreground: float) -> None:
    """Raises `UserError` for an invalid `export.foreground`."""
    if not 0 < foreground < math.inf:
        raise UserError(
            f"export.foreground={foreground}: must be a finite number > 0 (1: no change)"
        )
