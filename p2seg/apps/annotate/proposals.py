"""Proposed points that the user accepts, moves or removes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from p2seg.data.coco import Category
from p2seg.data.points import read_points
from p2seg.data.proposals import Source, proposals_path
from p2seg.errors import UserError


class Proposal(NamedTuple):
    """A proposed point.

    Attributes:
        id: of the proposal, and of the point if it is accepted.
        label: class, 1..C.
        x, y: the pixel.
    """

    id: int
    label: int
    x: int
    y: int


class Proposals:
    """The proposals of a folder's images, by image name.

    Args:
        points: the points file; without a proposals file next to it, there are none.
        categories: the classes of the page.
        rejected: ids of the proposals that the user removed.

    Attributes:
        order: names of the images with proposals; the model is least sure of the first.
        ids: of all proposals.
        rejected: see above; changed by the page.

    Raises:
        UserError: the proposals file is invalid, or it has a class that the page does not have.
    """

    def __init__(
        self, points: Path, categories: Sequence[Category], rejected: Iterable[int] = ()
    ) -> None:
        self._by_image: dict[str, dict[int, Proposal]] = {}
        path = proposals_path(points)
        if path.is_file():
            known = read_points(path)
            labels = {each.name: k for k, each in enumerate(categories, 1)}
            for each in known.categories:
                if each.name not in labels:
                    raise UserError(
                        f"{path} has the class {each.name}, which {points} does not have; remove "
                        "the file, or add the class with --classes"
                    )
            classes = [labels[each.name] for each in known.categories]
            for record, own in zip(known.images, known.points, strict=True):
                rows = zip(own.ids.tolist(), own.labels.tolist(), own.yx.tolist(), strict=True)
                self._by_image[record.file_name] = {
                    id: Proposal(id, classes[label - 1], int(x), int(y))
                    for id, label, (y, x) in rows
                }
        self.order = list(self._by_image)
        self.ids = frozenset(id for own in self._by_image.values() for id in own)
        self.rejected = set(self.ids.intersection(rejected))

    def pending(self, name: str, accepted: Collection[int]) -> list[Proposal]:
        """Returns the proposals of an image that are neither accepted nor removed.

        Args:
            name: name of the image.
            accepted: ids of the points of the image.
        """
        own = self._by_image.get(name, {})
        return [p for id, p in own.items() if id not in accepted and id not in self.rejected]

    def source(self, name: str, id: int, x: float, y: float) -> Source:
        """Returns the source of an accepted proposal at a position."""
        own = self._by_image.get(name, {}).get(id)
        return "proposed" if own is not None and (own.x, own.y) == (x, y) else "corrected"
