"""Statistics of the mask sizes of each class in a data set."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]

MIN_SPREAD = 0.5
"""Smallest spread of the logarithm of sizes in a class."""

PRIOR = 5.0
"""Weight of the statistics of all classes, in masks of the class."""


@dataclass(frozen=True)
class Sizes:
    """The sizes of each class's masks: logarithms of their share of the image's area.

    Attributes:
        middle: `[C]`, median of class k at k - 1.
        spread: `[C]`, robust standard deviation.
    """

    middle: tuple[float, ...]
    spread: tuple[float, ...]

    @staticmethod
    def of(logs: list[Float]) -> Sizes:
        """The statistics of masks, shrunk toward those of all classes.

        Args:
            logs: for each class, the logarithms of its masks' shares of the image area.
        """
        pooled = np.concatenate([*logs, np.zeros(0)])
        common = _robust(pooled) if len(pooled) else (0.0, MIN_SPREAD)
        pairs = []
        for own in logs:
            weight = len(own) / (len(own) + PRIOR)
            robust = _robust(own) if len(own) else common
            middle, spread = (
                weight * a + (1 - weight) * b for a, b in zip(robust, common, strict=True)
            )
            pairs.append((round(middle, 4), round(spread, 4)))
        return Sizes(tuple(a for a, _ in pairs), tuple(b for _, b in pairs))

    def deviation(self, logs: Float, labels: NDArray[np.int64]) -> Float:
        """The signed distance `[M]` of masks from the median of their classes, in spreads.

        Args:
            logs: `[M]`.
            labels: `[M]`, classes 1..C.
        """
        middle, spread = (np.asarray(each)[labels - 1] for each in (self.middle, self.spread))
        deviation: Float = (logs - middle) / spread
        return deviation


def _robust(values: Float) -> tuple[float, float]:
    """Median, and standard deviation of a normal distribution with this interquartile range."""
    low, middle, high = np.percentile(values, [25, 50, 75])
    return float(middle), max(float(high - low) / 1.349, MIN_SPREAD)
