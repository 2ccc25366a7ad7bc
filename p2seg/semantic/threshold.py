"""Initial semantic maps by thresholds, for objects such as cells that differ from the ground.

The method needs no weights and no labels except the points.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from p2seg.data.maps import SemanticMap
from p2seg.errors import UserError
from p2seg.semantic.missed import regions_of_missed, voronoi
from p2seg.semantic.source import ImageSource

Mask = NDArray[np.bool_]
Channel = NDArray[np.float32]

RIDGE = 0.1
"""Regularization of the color covariance before its inversion, in mean variances."""


@dataclass(frozen=True)
class Threshold(ImageSource):
    """Otsu's threshold of one channel of the image, and one more threshold per missed click.

    The candidates are gray, red, green, blue, saturation and the direction in color space along
    which the clicked pixels differ most from the image. Otsu's threshold splits each candidate
    into two sides. The side with the largest `recall^2 / area` of all is the foreground, where
    recall is the share of clicks in it. A click outside the foreground gets the connected region,
    in its Voronoi cell, of the pixels between the click's value and the threshold `level`. A
    foreground pixel has the class of the nearest click.

    Attributes:
        level: threshold of a missed click's region, from 0 (background value in its cell) to 1
            (value of the click).
    """

    level: float = 0.7
    name = "threshold"

    def __post_init__(self) -> None:
        if not 0 < self.level < 1:
            raise UserError(f"semantic.source.level={self.level}: must be between 0 and 1")

    def _segment(
        self, image: NDArray[np.uint8], yx: NDArray[np.int64], labels: NDArray[np.int64]
    ) -> SemanticMap:
        inside, channel = _best_split(image, yx)
        missed = regions_of_missed(channel, inside, yx, ~inside[tuple(yx.T)], self.level)
        nearest, _ = voronoi((image.shape[0], image.shape[1]), yx)
        return np.where(inside | (missed > 0), labels[nearest], 0).astype(np.uint8)


def _best_split(image: NDArray[np.uint8], yx: NDArray[np.int64]) -> tuple[Mask, Channel]:
    """The foreground of the channel that separates the clicks best, and that channel."""
    from skimage.filters import threshold_otsu

    split = np.zeros(image.shape[:2], bool), np.zeros(image.shape[:2], np.float32)
    best = -1.0
    for channel in _channels(image, yx):
        if channel.max() == channel.min():
            continue
        above = channel > threshold_otsu(channel)
        for inside in (above, ~above):  # neither is empty
            score = float(inside[tuple(yx.T)].mean()) ** 2 / float(inside.mean())
            if score > best:
                best, split = score, (inside, channel)
    return split


def _channels(image: NDArray[np.uint8], yx: NDArray[np.int64]) -> list[Channel]:
    """Gray, R, G, B, saturation, and Fisher's direction from all pixels to the clicked ones."""
    colors = image.astype(np.float32)
    flat = colors.reshape(-1, 3)
    covariance = np.cov(flat.T)
    covariance += (RIDGE * np.trace(covariance) / 3 + 1e-3) * np.eye(3)
    clicked = cv2.GaussianBlur(colors, (0, 0), 1.0)[tuple(yx.T)].mean(0)
    direction = np.linalg.solve(covariance, clicked - flat.mean(0))
    direction /= np.linalg.norm(direction) + 1e-9
    return [
        cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32),
        *np.moveaxis(colors, 2, 0),
        cv2.cvtColor(image, cv2.COLOR_RGB2HSV)[..., 1].astype(np.float32),
        (colors @ direction).astype(np.float32),
    ]
