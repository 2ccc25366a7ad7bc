"""A point that was clicked, and an image with its points."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from p2seg.data.records import ImageRecord
from p2seg.structures import Points


@dataclass(frozen=True)
class Click:
    """A point. Attributes: its id; its class, 1..C; (x, y) in pixels."""

    id: int
    label: int
    x: float
    y: float


@dataclass
class Entry:
    """An image of the file.

    Attributes:
        record: the image.
        clicks: by id.
        given: it was in the file before, and stays there without points.
        done: someone has looked and found nothing on it.
        packed: the points as they are written, until something changes.
    """

    record: ImageRecord
    clicks: dict[int, Click] = field(default_factory=dict)
    given: bool = False
    done: bool = False
    packed: Points | None = None

    @property
    def points(self) -> Points:
        """The points as the rest of the package has them."""
        if self.packed is None:
            self.packed = points_of(list(self.clicks.values()))
        return self.packed

    def is_free(self, point: tuple[float, float] | None) -> bool:
        """Whether (x, y) lies on a pixel of the image that has no point."""
        x, y = map(math.floor, point or (-1, -1))
        inside = 0 <= x < self.record.width and 0 <= y < self.record.height
        taken = ((math.floor(each.x), math.floor(each.y)) for each in self.clicks.values())
        return inside and (x, y) not in taken


def points_of(clicks: Sequence[Click]) -> Points:
    """Clicks of an image as the rest of the package has them."""
    return Points(
        yx=torch.tensor([(each.y, each.x) for each in clicks], dtype=torch.float32).reshape(-1, 2),
        labels=torch.tensor([each.label for each in clicks], dtype=torch.int64),
        ids=torch.tensor([each.id for each in clicks], dtype=torch.int64),
    )
