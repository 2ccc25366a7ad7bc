"""A batch for the tests of the methods."""

from __future__ import annotations

import torch
from strategies import points_of

from p2seg.method.seed import Seeder
from p2seg.structures import Batch, Sample


def batch_of(side: int = 64) -> Batch:
    """Two objects of one class in one region, and one of another class."""
    random = torch.Generator().manual_seed(3)
    semantic = torch.zeros(side, side, dtype=torch.long)
    semantic[4:30, 4:56] = 1
    semantic[36:60, 8:30] = 2
    semantic[60:] = 255
    points = points_of([(15, 15), (17, 45), (50, 18)], [1, 1, 2])
    image = torch.randint(0, 256, (3, side, side), generator=random, dtype=torch.uint8)
    labels = Seeder("semantic_first")(semantic[None], [points]).of_image(0)
    return Batch.of([Sample("a.png", image, points, labels)])
