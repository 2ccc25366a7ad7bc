"""What a command reports about the images that it is going to read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from p2seg.data.image_sources import left_out
from p2seg.data.images import PERCENTILES, is_deep, opened_image, pages_of

MAYBE = frozenset({".tif", ".tiff", ".png", ".apng", ".gif", ".webp", ".jp2", ".j2k", ".pgm"})
"""Endings of formats that can be deep or have pages; JPEGs need no look."""

READERS = 8
"""Threads that look at heads of files."""


def notes_on(files: Iterable[Path], folder: Path | None = None) -> Iterator[str]:
    """Sentences about images that are not read as they are, each with a count and an example.

    Args:
        files: the images; a file that cannot be opened is left to the command that reads it.
        folder: where they were found; its images of endings that are not read are counted.
    """
    asked = [file for file in files if file.suffix.lower() in MAYBE]
    with ThreadPoolExecutor(READERS) as pool:
        seen = list(zip(asked, pool.map(_look, asked), strict=True))
    low, high = PERCENTILES
    deep = [file.name for file, (is_deep, _) in seen if is_deep]
    if deep:
        yield (
            f"{_count(deep)} more than 8 bits per value, such as {deep[0]}: in each of them the "
            f"values from the {low}th to the {high}th percentile become 0 to 255"
        )
    paged = [file.name for file, (_, pages) in seen if pages > 1]
    if paged:
        yield f"{_count(paged)} several pages or frames, such as {paged[0]}: the first one is read"
    if folder is not None and folder.is_dir():
        unread = left_out(folder)
        if unread:
            listed = ", ".join(f"{count} {ending}" for ending, count in sorted(unread.items()))
            yield f"not read in {folder}: {listed}; convert them to .png or .jpg"


def _count(names: list[str]) -> str:
    return f"{len(names)} image has" if len(names) == 1 else f"{len(names)} images have"


def _look(file: Path) -> tuple[bool, int]:
    try:
        with opened_image(file) as image:
            return is_deep(image), pages_of(image)
    except Exception:  # whoever reads it says what is wrong
        return False, 1
