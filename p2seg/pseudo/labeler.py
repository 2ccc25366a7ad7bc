"""The interface of what gives every pixel of an image an owner, and its result."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from p2seg.errors import UserError
from p2seg.structures import Points

DEFAULT_SCORE = 0.5
"""Score of a mask that the network has not found: of the seed, or the default box."""


@dataclass(frozen=True)
class Labeled:
    """Whose every pixel of one image is.

    Attributes:
        semantic: `[H, W]` int64, the map that was split into instances.
        instances: `[H, W]` int64, 0 none, k + 1 the k-th point.
        scores: `[K]` float32 in 0..1, mean probability of the point's class over its mask.
        from_seed: `[K]` bool, whose pixels are the seed's; None: nobody's.
    """

    semantic: Tensor
    instances: Tensor
    scores: Tensor
    from_seed: Tensor | None = None


class Labeler(Protocol):
    """Gives every pixel of an image an owner."""

    @property
    def needs_image(self) -> bool:
        """Whether the image is read."""
        ...

    @property
    def on_gpu(self) -> bool:
        """Whether the processor is free while it works."""
        ...

    def __call__(self, image: Tensor | None, points: Points, first: Tensor) -> Labeled:
        """Labels one image.

        Args:
            image: `[3, H, W]` uint8, or None where `needs_image` is false.
            points: of the image.
            first: `[H, W]` int64, the first semantic map.
        """
        ...


def check_odds(foreground: float) -> None:
    """Refuses odds of classes against background that cannot be (`export.foreground`)."""
    if not 0 < foreground < math.inf:
        raise UserError(f"export.foreground={foreground}; give odds above 0, 1 is even")
