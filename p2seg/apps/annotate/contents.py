"""The points and marks of the images in a points file, by image name."""

from __future__ import annotations

from collections.abc import Sequence

from p2seg.apps.annotate.entries import Click, Entry, aliases_of, points_of
from p2seg.data.records import Category
from p2seg.structures import Points


class Contents:
    """Queries of the points and marks of a folder's images.

    Args:
        entries: the images of the points file by name.
        categories: class k is the k-th.
    """

    def __init__(self, entries: dict[str, Entry], categories: list[Category]) -> None:
        self.categories = categories
        self._entries = entries
        self._aliases: dict[str, str] = {}

    def match(self, names: Sequence[str]) -> None:
        """Matches the file's images to a folder whose names use another Unicode form.

        Args:
            names: the image names of the folder.
        """
        self._aliases = aliases_of(names, self._entries)

    def clicks(self, name: str) -> list[Click]:
        """Returns the clicks of an image."""
        entry = self._known(name)
        return [] if entry is None else list(entry.clicks.values())

    def points(self, name: str) -> Points:
        """Returns the points of an image as `Points`."""
        entry = self._known(name)
        return points_of([]) if entry is None else entry.points

    def size(self, name: str) -> tuple[int, int] | None:
        """Returns the (height, width) at which an image was annotated, or None."""
        entry = self._known(name)
        return entry.size if entry is not None and entry.is_listed else None

    def is_done(self, name: str) -> bool:
        """Returns whether an image has points or is marked as empty."""
        entry = self._known(name)
        return entry is not None and (entry.done or bool(entry.clicks))

    def is_empty(self, name: str) -> bool:
        """Returns whether an image is marked as empty."""
        entry = self._known(name)
        return entry is not None and entry.done

    def counts(self) -> list[int]:
        """Returns the number of points per class over all images."""
        counts = [0] * len(self.categories)
        for entry in self._entries.values():
            for click in entry.clicks.values():
                counts[click.label - 1] += 1
        return counts

    def strangers(self, names: Sequence[str]) -> list[str]:
        """Returns the file's images that are not in `names`; their points are preserved."""
        listed = {name for name, entry in self._entries.items() if entry.is_listed}
        return sorted(listed - set(map(self._key, names)))

    def _known(self, name: str) -> Entry | None:
        return self._entries.get(self._key(name))

    def _key(self, name: str) -> str:
        """The name of an image in the file."""
        return self._aliases.get(name, name)
