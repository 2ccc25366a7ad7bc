"""Labelers that use seed labels: alone, or for points that a network misses."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from p2seg.method.s2i import Orphans, semantic_to_instances
from p2seg.method.seed import Seeder
from p2seg.pseudo.edges import aligned_map
from p2seg.pseudo.labeler import DEFAULT_SCORE, Labeled, Labeler, check_odds
from p2seg.structures import IGNORED, Points


@dataclass(frozen=True)
class SeedLabeler:
    """A labeler without a network, which returns the seed labels.

    Attributes:
        seeder: computes the seed labels.
        orphans: `nearest` assigns regions without a point to the nearest point of their class;
            `drop` assigns them to no point, as `seeder.conflict=semantic_first` always does.
        foreground: factor on the odds of classes against background at the borders of the map.
        edges: radius in pixels of the guided filter that aligns the map with image edges; 0: off.
    """

    seeder: Seeder
    orphans: Orphans = "nearest"
    foreground: float = 1.0
    edges: int = 0
    on_gpu: bool = False

    def __post_init__(self) -> None:
        check_odds(self.foreground)

    @property
    def needs_image(self) -> bool:
        """Whether the split or the edges depend on the image."""
        return self.seeder.split.needs_image or self.edges > 0

    def __call__(self, image: Tensor | None, points: Points, first: Tensor) -> Labeled:
        """The seed labels of an image; all scores are 1."""
        if image is not None:
            first = aligned_map(first, image, points, self.foreground, self.edges)
        images = None if image is None else image[None]
        instances = self.seeder(first[None], [points], images).instances[0]
        if self.orphans == "nearest" and self.seeder.conflict == "points_first":
            offset = torch.zeros(1, 2, *first.shape)
            [nearest] = semantic_to_instances(
                first[None], offset, [points], decode="point", snap_radius=self.seeder.snap_radius
            )
            unassigned = (instances == 0) & (first > 0) & (first != IGNORED)
            instances = torch.where(unassigned, nearest, instances)
        return Labeled(first, instances, torch.ones(len(points)))


@dataclass(frozen=True)
class SeedFallback:
    """A labeler that uses the seed label of a point if the network's mask is too small.

    The network can miss an object that the initial semantic map contains. Only unassigned pixels
    are added to the mask, so that masks stay disjoint.

    Attributes:
        labeler: labeler with a trained network.
        seeder: computes the seed labels.
        min_pixels: a smaller mask is completed by the seed label.
    """

    labeler: Labeler
    seeder: Seeder
    min_pixels: int
    needs_image: bool = True

    @property
    def on_gpu(self) -> bool:
        """Whether the network runs on a GPU."""
        return self.labeler.on_gpu

    def __call__(self, image: Tensor | None, points: Points, first: Tensor) -> Labeled:
        """Labels one image; a mask from the seed labels has the score `DEFAULT_SCORE`."""
        labeled = self.labeler(image, points, first)
        few = self._areas(labeled.instances, points) < self.min_pixels
        if not few.any():
            return labeled
        images = None if image is None else image[None]
        seed = self.seeder(first[None], [points], images).instances[0]
        added = F.pad(few, (1, 0))[seed] & (labeled.instances == 0)
        instances = torch.where(added, seed, labeled.instances)
        from_seed = few & (self._areas(instances, points) >= self.min_pixels)
        scores = labeled.scores.masked_fill(from_seed, DEFAULT_SCORE)
        return Labeled(labeled.semantic, instances, scores, from_seed)

    @staticmethod
    def _areas(instances: Tensor, points: Points) -> Tensor:
        return torch.bincount(instances.flatten(), minlength=len(points) + 1)[1:]
