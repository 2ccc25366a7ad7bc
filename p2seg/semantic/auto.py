"""Chooses the source of initial semantic maps that suits a set, without ground truth.

A mask of a real object has a border with contrast all along, and is compact. A threshold that does
not fit the images gives ragged masks, cut by the cells of the clicks; GrabCut on touching cells
gives masks that cross their borders. docs/developers/experiments.md has how often the choice is
right.
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
from p2seg.semantic.grabcut import GrabCut
from p2seg.semantic.source import MapTask, Source
from p2seg.semantic.threshold import Threshold
from p2seg.structures import Points

WINDOW = 7
"""Side in pixels of the square in which colors inside and outside of a mask are compared."""

LEAST = 4
"""Pixels; a smaller mask scores 0."""


@dataclass(frozen=True)
class Choice:
    """The source that was chosen.

    Attributes:
        source: the one with the highest score.
        scores: of each source, by its name.
        images: how many images were tried.
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
    """Tries each source on a sample of the images and keeps the one with the best masks.

    Attributes:
        images: of the sample, spread evenly over those with clicks.
        sources: that are tried.
    """

    images: int = 12
    sources: Sequence[Source[SemanticMap]] = field(default=(Threshold(), GrabCut()))

    def __post_init__(self) -> None:
        if self.images < 1:
            raise UserError(f"semantic.source.images={self.images}: must be an integer >= 1")

    def choose(self, tasks: Sequence[MapTask]) -> Choice:
        """The source with the highest mean `mask_scores` over the clicks of the sample.

        Args:
            tasks: the images of a set.

        Raises:
            UserError: no image of the sample can be used.
        """
        sample = _spread([task for task in tasks if len(task.yx)] or tasks, self.images)
        scores: dict[str, list[float]] = {source.name: [] for source in self.sources}
        tried, problem = 0, "the points file has no image"
        for task in sample:
            try:
                image = read_image(task.image, task.size)
            except UserError as error:
                problem = str(error)
                continue
            tried += 1
            for source in self.sources:
                scores[source.name] += mask_scores(image, source(task), task)
        if not tried:
            raise UserError(f"semantic=auto can read none of the sampled images: {problem}")
        means = {name: float(np.mean(each or [0.0])) for name, each in scores.items()}
        best = max(self.sources, key=lambda source: means[source.name])
        return Choice(best, means, tried)


def mask_scores(image: NDArray[np.uint8], semantic: SemanticMap, task: MapTask) -> list[float]:
    """The score of each click's mask: contrast along its border times solidity squared.

    The masks are the regions of the map, split between clicks by geodesic distance. The contrast
    is the lower quartile, along the border, of the difference between the mean colors on both
    sides (8-bit Lab units); the solidity is the share of the convex hull that the mask fills.

    Args:
        image: `[H, W, 3]` uint8 RGB.
        semantic: `[H, W]` uint8, the map.
        task: of the image.
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
    """The score of one mask `[H, W]`."""
    y, x = np.nonzero(mask)
    if len(y) < LEAST:
        return 0.0
    low = np.maximum((y.min() - WINDOW, x.min() - WINDOW), 0)
    around = np.s_[low[0] : y.max() + WINDOW + 1, low[1] : x.max() + WINDOW + 1]
    inside, crop, square = mask[around].astype(np.float32), colors[around], np.ones((3, 3))
    border = cv2.dilate(inside, square) > cv2.erode(inside, square)
    share = cv2.blur(inside, (WINDOW, WINDOW))[border][:, None]
    ours = cv2.blur(crop * inside[..., None], (WINDOW, WINDOW))[border]
    theirs = cv2.blur(crop, (WINDOW, WINDOW))[border] - ours
    few = 1e-3
    apart = ours / np.maximum(share, few) - theirs / np.maximum(1 - share, few)
    if not len(apart):
        return 0.0
    contrast = float(np.quantile(np.linalg.norm(apart, axis=1), 0.25))
    hull = cv2.convexHull(np.stack([x, y], 1).astype(np.int32))
    pixels = cv2.contourArea(hull) + cv2.arcLength(hull, closed=True) / 2 + 1  # corners to pixels
    return contrast * min(1.0, len(y) / pixels) ** 2


def _spread(tasks: Sequence[MapTask], count: int) -> list[MapTask]:
    """At most `count` of the tasks, evenly spread."""
    places = np.linspace(0, len(tasks) - 1, min(count, len(tasks))).round().astype(int)
    return [tasks[place] for place in np.unique(places)]
