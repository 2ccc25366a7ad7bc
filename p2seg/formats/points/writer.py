"""The input of all writers of clicks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from p2seg.data.points import PointSet
from p2seg.data.records import ImageRecord
from p2seg.errors import UserError, shown
from p2seg.formats.masks.base import on_edges
from p2seg.formats.masks.cvat import NO_XML


def check_xml(names: Iterable[str]) -> None:
    """Raises a `UserError` for names with characters that XML cannot represent."""
    for name in names:
        if NO_XML.search(name):
            raise UserError(f"{shown(name)} has a character that XML cannot represent; rename it")


@dataclass(frozen=True)
class Click:
    """One point to write.

    Attributes:
        id: annotation id.
        label: class name.
        y: pixels, with the center of the first pixel at 0.
        x: likewise.
    """

    id: int
    label: str
    y: float
    x: float

    @property
    def on_edges(self) -> tuple[float, float]:
        """(x, y) along pixel edges, where the first pixel covers 0 to 1."""
        return on_edges(self.y, self.x)


@dataclass(frozen=True)
class Writing:
    """A set of points, and its destination.

    Attributes:
        points: the set.
        folder: folder of the images.
        out: the file or folder to write.
        url: prefix of Label Studio's image addresses.
    """

    points: PointSet
    folder: Path
    out: Path
    url: str = "/data/local-files/?d=images/"

    @property
    def records(self) -> list[ImageRecord]:
        """All images."""
        return list(self.points.images)

    @property
    def names(self) -> list[str]:
        """The class names; class k is `names[k - 1]`."""
        return [category.name for category in self.points.categories]

    def images(self) -> Iterator[tuple[ImageRecord, list[Click]]]:
        """Each image with its clicks, in the set's order."""
        names = self.names
        for record, points in zip(self.points.images, self.points.points, strict=True):
            yield (
                record,
                [
                    Click(id, names[label - 1], y, x)
                    for id, label, (y, x) in zip(
                        points.ids.tolist(),
                        points.labels.tolist(),
                        # The shortest float32 digits: 0.1 and not 0.10000000149.
                        [[float(str(v)) for v in yx] for yx in points.yx.numpy()],
                        strict=True,
                    )
                ],
            )
