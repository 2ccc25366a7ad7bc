"""Labels images by the seeds alone, or fills the gaps of a network with them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from p2seg.method.s2i import Orphans, semantic_to_instances
from p2seg.method.seed import Seeder
from p2seg.pseudo.edges import mended
from p2seg.pseudo.labeler import DEFAULT_SCORE, Labeled, Labeler, check_odds
from p2seg.structures import IGNORED, Points


@dataclass(frozen=True)
class SeedLabeler:
    """The seeds alone, no network; with `orphans=nearest` this is the control of experiments.

    Attributes:
        seeder: makes the seeds.
        orphans: `nearest` gives pixels of regions without a point to the nearest point of their
            class; `drop` leaves them out, as seeds with `semantic_first` always do.
        foreground: of `mended`.
        edges: of `mended`; 0: the map is taken as it is.
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
        """The seed of the image; every score is 1."""
        if image is not None:
            first = mended(first, image, points, self.foreground, self.edges)
        images = None if image is None else image[None]
        instances = self.seeder(first[None], [points], images).instances[0]
        if self.orphans == "nearest" and self.seeder.conflict == "points_first":
            still = torch.zeros(1, 2, *first.shape)
            [filled] = semantic_to_instances(
                first[None], still, [points], decode="point", snap_radius=self.seeder.snap_radius
            )
            unclaimed = (instances == 0) & (first > 0) & (first != IGNORED)
            instances = torch.where(unclaimed, filled, instances)
        return Labeled(first, instances, torch.ones(len(points)))


@dataclass(frozen=True)
class SeedFallback:
    """A labeler whose unclaimed points get what the seed gives them.

    The network may find no pixel of an object that the initial semantic map has. Only pixels that
    nobody else claims are taken from the seed, so that masks stay disjoint.

    Attributes:
        labeler: of a trained network.
        seeder: makes the seeds.
        min_pixels: a point with fewer pixels is unclaimed.
    """

    labeler: Labeler
    seeder: Seeder
    min_pixels: int
    needs_image: bool = True

    @property
    def on_gpu(self) -> bool:
        """Whether the processor is free while it works."""
        return self.labeler.on_gpu

    def __call__(self, image: Tensor | None, points: Points, first: Tensor) -> Labeled:
        """Labels one image; a mask of the seed has the score of a default box."""
        made = self.labeler(image, points, first)
        few = self._areas(made.instances, points) < self.min_pixels
        if not few.any():
            return made
        images = None if image is None else image[None]
        seed = self.seeder(first[None], [points], images).instances[0]
        taken = F.pad(few, (1, 0))[seed] & (made.instances == 0)
        instances = torch.where(taken, seed, made.instances)
        from_seed = few & (self._areas(instances, points) >= self.min_pixels)
        scores = made.scores.masked_fill(from_seed, DEFAULT_SCORE)
        return Labeled(made.semantic, instances, scores, from_seed)

    @staticmethod
    def _areas(instances: Tensor, points: Points) -> Tensor:
        return torch.bincount(instances.flatten(), minlength=len(points) + 1)[1:]
