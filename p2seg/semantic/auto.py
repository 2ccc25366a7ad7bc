"""Chooses the source of initial semantic maps for a set without ground truth.

The mask of a real object is compact, with contrast all along its border. A threshold that does not
fit the images gives ragged masks, cut by the Voronoi cells of the clicks. GrabCut on touching cells
gives masks that cross their borders. docs/developers/experiments.md reports the accuracy of the
choice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from p2seg.data.images import read_image
from p2seg.data.maps import SemanticMap
from p2seg.errors import UserError
from p2seg.method.seed import Seeder
from p2seg.method.split import Split
from p2seg.semantic.contrast import border_contrast
from p2seg.semantic.grabcut import GrabCut
from p2seg.semantic.source import MapTask, Source
from p2seg.semantic.threshold import Threshold
from p2seg.structures import Points

WINDOW = 7
"""Side in pixels of the square in which colors inside and outside of a mask are compared."""

MIN_PIXELS = 4
"""A smaller mask scores 0."""


@dataclass(frozen=True)
class Choice:
    """The chosen source.

    Attributes:
        source: the source with the highest score.
        scores: score of each source by name.
        images: number of images in the comparison.
    """

    source: Source[SemanticMap]
    scores: dict[str, float]
    images: int

    def __str__(self) -> str:
        others = ", ".join(f"{name} {score:.1f}" for name, score in self.scores.items())
        return (
            f"semantic=auto chose {self.source.name} on {self.images} images (score: {others}); "
            f"semantic=NAME chooses another"
        )


@dataclass(frozen=True)
class Auto:
    """Runs each source on a sample of the images and chooses the one with the best masks.

    Attributes:
        images: size of the sample, which is spread evenly over the images with clicks.
        sources: the sources to compare.
    """

    images: int = 12
    sources: Sequence[Source[SemanticMap]] = field(default=(Threshold(), GrabCut()))

    def __post_init__(self) -> None:
        if self.images < 1:
            raise UserError(f"semantic.source.images={self.images}: must be an integer >= 1")

    def choose(self, tasks: Sequence[MapTask]) -> Choice:
        """The source with the highest mean of log(1 + score) over the clicks of the sample.

        The score of a click is that of `mask_scores`.

        Args:
            tasks: the images of a set.

        Raises:
            UserError: no image of the sample is readable.
        """
        sample = _spread([task for task in tasks if len(task.yx)] or tasks, self.images)
        scores: dict[str, list[float]] = {source.name: [] for source in self.sources}
        readable, problem = 0, "the points file has no image"
        for task in sample:
            try:
                image = read_image(task.image, task.size)
            except UserError as error:
                problem = str(error)
                continue
            readable += 1
            for source in self.sources:
                scores[source.name] += mask_scores(image, source(task), task)
        if not readable:
            raise UserError(f"semantic=auto can read none of the sampled images: {problem}")
        # The logarithm, so that a few masks with a bright border do not outweigh many poor ones.
        means = {
            name: float(np.expm1(np.mean(np.log1p(each or [0.0])))) for name, each in scores.items()
        }
        best = max(self.sources, key=lambda source: means[source.name])
        return Choice(best, means, readable)


def mask_scores(image: NDArray[np.uint8], semantic: SemanticMap, task: MapTask) -> list[float]:
    """The score of each click's mask: contrast along its border times solidity squared.

    The masks are the regions of the map, split between clicks by geodesic distance. The contrast
    is the lower quartile, along the border, of the difference between the mean colors on both
    sides (8-bit Lab units); the solidity is the share of the convex hull that the mask fills.

    Args:
        image: `[H, W, 3]` uint8 RGB.
        semantic: `[H, W]` uint8, the map.
        task: the image's clicks.
    """
    points = Points(
        torch.from_numpy(task.yx).float(), torch.from_numpy(task.labels), torch.from_numpy(task.ids)
    )
    seeder = Seeder(split=Split("geodesic"))
    pixels = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
    first = torch.from_numpy(semantic.astype(np.int64))
    owners = seeder(first[None], [points], pixels[None]).instances[0].numpy()
    colors = cv2.cvtColor(image, cv2.COLOR_RGB2LAB).astype(np.float32)
    return [_score(colors, owners == k + 1) for k in range(len(points))]


def _score(colors: NDArray[Any], mask: NDArray[np.bool_]) -> float:
    y, x = np.nonzero(mask)
    if len(y) < MIN_PIXELS:
        return 0.0
    low = np.maximum((y.min() - WINDOW, x.min() - WINDOW), 0)
    around = np.s_[low[0] : y.max() + WINDOW + 1, low[1] : x.max() + WINDOW + 1]
    contrast = border_contrast(colors[around], mask[around], WINDOW)
    hull = cv2.convexHull(np.stack([x, y], 1).astype(np.int32))
    # Pick's theorem: the number of pixels in the hull of pixel centers.
    pixels = cv2.contourArea(hull) + cv2.arcLength(hull, closed=True) / 2 + 1
    return contrast * min(1.0, len(y) / pixels) ** 2


def _spread(tasks: Sequence[MapTask], count: int) -> list[MapTask]:
    """At most `count` of the tasks, evenly spread."""
    places = np.linspace(0, len(tasks) - 1, min(count, len(tasks))).round().astype(int)
    return [tasks[place] for place in np.unique(places)]
