"""Initial semantic maps by Voronoi cells and k-means, as for cell nuclei in Qu et al. 2019.

The method needs no weights and no labels except the points.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from p2seg.data.maps import SemanticMap
from p2seg.errors import UserError
from p2seg.semantic.missed import voronoi
from p2seg.semantic.source import ImageSource
from p2seg.structures import IGNORED

CLUSTERS = 3
"""Foreground, background and ignored."""

ATTEMPTS = 3
"""Starts of k-means; the most compact result is used."""

STEPS = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 30, 0.01)
"""k-means ends after 30 steps, or when no center moves by 0.01."""


@dataclass(frozen=True)
class Clusters(ImageSource):
    """Three clusters of pixels by color and by distance to the nearest click.

    The cluster that covers most of the discs around the clicks is the foreground, the one that
    covers least of them is the background, and the third is ignored (255). A foreground pixel has
    the class of the nearest click. The edges of the clicks' Voronoi cells are background. The
    clicked pixels are foreground.

    Attributes:
        reach: where the distance is clipped, in medians of the distance from a click to its
            nearest other one; a single click counts the short side of the image.
        distance: weight of the clipped distance, whose range is 0..1, against the color, whose
            standard deviation is 1.
        disc: radius of the discs, in the same unit as `reach`.
    """

    reach: float = 2.0
    distance: float = 4.0
    disc: float = 0.1
    name = "clusters"

    def __post_init__(self) -> None:
        for key in ("reach", "distance", "disc"):
            if not 0 < getattr(self, key) < np.inf:
                raise UserError(f"semantic.source.{key}={getattr(self, key)}: must be above 0")

    def _segment(
        self, image: NDArray[np.uint8], yx: NDArray[np.int64], labels: NDArray[np.int64]
    ) -> SemanticMap:
        nearest, distance = voronoi(image.shape[:2], yx)
        unit = _spacing(image.shape, yx)
        cluster = self._clusters(image, distance / (self.reach * unit))
        in_discs = cluster[distance <= self.disc * unit]
        counts = np.bincount(in_discs, minlength=CLUSTERS)
        semantic = np.full(image.shape[:2], IGNORED, np.uint8)
        semantic[cluster == counts.argmin()] = 0
        foreground = cluster == counts.argmax()
        semantic[foreground] = labels[nearest][foreground]
        semantic[_edges(nearest)] = 0
        return semantic

    def _clusters(
        self, image: NDArray[np.uint8], distance: NDArray[np.float64]
    ) -> NDArray[np.int64]:
        """The cluster 0..2 of every pixel, `[H, W]`. A `distance` above 1 counts as 1."""
        color = cv2.GaussianBlur(image, (0, 0), 1.0).reshape(-1, 3).astype(np.float32)
        color -= color.mean(0)
        color /= np.sqrt((color**2).sum(1).mean()) + 1e-6
        far = self.distance * np.minimum(distance, 1).reshape(-1, 1).astype(np.float32)
        features = np.hstack([color, far])
        if len(features) < CLUSTERS:
            return np.zeros(image.shape[:2], np.int64)
        cv2.setRNGSeed(0)
        _, cluster, _ = cv2.kmeans(
            features, CLUSTERS, np.empty(0, np.int32), STEPS, ATTEMPTS, cv2.KMEANS_PP_CENTERS
        )
        return np.asarray(cluster, np.int64).reshape(image.shape[:2])


def _spacing(shape: tuple[int, ...], yx: NDArray[np.int64]) -> float:
    """The median distance from a click to its nearest other one, at most the short side, pixels."""
    if len(yx) < 2:
        return float(min(shape[:2]))
    distances = np.asarray(cKDTree(yx).query(yx, 2)[0])[:, 1]
    return float(np.clip(np.median(distances), 1, min(shape[:2])))


def _edges(nearest: NDArray[np.int64]) -> NDArray[np.bool_]:
    """The pixels with a pixel of another cell on the right or below, diagonals included."""
    edges = np.zeros(nearest.shape, bool)
    edges[:, :-1] |= nearest[:, :-1] != nearest[:, 1:]
    edges[:-1] |= nearest[:-1] != nearest[1:]
    edges[:-1, :-1] |= nearest[:-1, :-1] != nearest[1:, 1:]
    edges[:-1, 1:] |= nearest[:-1, 1:] != nearest[1:, :-1]
    return edges
