"""How large the masks of a class are over a data set."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]

LEAST_SPREAD = 0.5
"""Of the logarithm of sizes in a class."""

PRIOR = 5.0
"""Masks of all classes that count with a class's own."""


@dataclass(frozen=True)
class Sizes:
    """The sizes of each class's masks: logarithms of their share of the image's area.

    Attributes:
        middle: `[C]`, of class k at k - 1.
        spread: `[C]`.
    """

    middle: tuple[float, ...]
    spread: tuple[float, ...]

    @staticmethod
    def of(logs: list[Float]) -> Sizes:
        """The sizes of what was chosen.

        Args:
            logs: of each class, the logarithms of its masks' shares of their images.
        """
        everything = np.concatenate([*logs, np.zeros(0)])
        common = _robust(everything) if len(everything) else (0.0, LEAST_SPREAD)
        pairs = []
        for own in logs:
            weight = len(own) / (len(own) + PRIOR)
            theirs = _robust(own) if len(own) else common
            middle, spread = (
                weight * a + (1 - weight) * b for a, b in zip(theirs, common, strict=True)
            )
            pairs.append((round(middle, 4), round(spread, 4)))
        return Sizes(tuple(a for a, _ in pairs), tuple(b for _, b in pairs))

    def away(self, logs: Float, labels: NDArray[np.int64]) -> Float:
        """How many spreads masks are from the middle of their classes, `[M]`.

        Args:
            logs: `[M]`.
            labels: `[M]`, classes 1..C.
        """
        middle, spread = (np.asarray(each)[labels - 1] for each in (self.middle, self.spread))
        away: Float = (logs - middle) / spread
        return away


def _robust(values: Float) -> tuple[float, float]:
    """Median, and the spread that a normal distribution of this interquartile range has."""
    low, middle, high = np.percentile(values, [25, 50, 75])
    return float(middle), max(float(high - low) / 1.349, LEAST_SPREAD)
