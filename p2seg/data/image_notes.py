"""Notes about images whose content is converted or skipped when a command reads them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from p2seg.data.image_sources import unsupported_images
from p2seg.data.images import PERCENTILES, is_deep, opened_image, pages_of

CHECKED = frozenset({".tif", ".tiff", ".png", ".apng", ".gif", ".webp", ".jp2", ".j2k", ".pgm"})
"""File endings of formats that can have more than 8 bits per value or several pages."""

READERS = 8
"""Threads that read file headers."""


def notes_on(files: Iterable[Path], folder: Path | None = None) -> Iterator[str]:
    """Yields sentences about converted or skipped images, each with a count and an example.

    Args:
        files: the images; unreadable files get no note, because reading them raises an error.
        folder: the folder of the images; its files in unsupported image formats are counted.
    """
    candidates = [file for file in files if file.suffix.lower() in CHECKED]
    with ThreadPoolExecutor(READERS) as pool:
        headers = list(zip(candidates, pool.map(_header, candidates), strict=True))
    low, high = PERCENTILES
    deep = [file.name for file, (is_deep, _) in headers if is_deep]
    if deep:
        yield (
            f"{_count(deep)} more than 8 bits per value, such as {deep[0]}: in each of them the "
            f"values from the {low}th to the {high}th percentile become 0 to 255"
        )
    paged = [file.name for file, (_, pages) in headers if pages > 1]
    if paged:
        yield f"{_count(paged)} several pages or frames, such as {paged[0]}: the first one is read"
    if folder is not None and folder.is_dir():
        counts = unsupported_images(folder)
        if counts:
            kinds = ", ".join(f"{count} {ending}" for ending, count in sorted(counts.items()))
            yield f"not read in {folder}: {kinds}; convert them to .png or .jpg"


def _count(names: list[str]) -> str:
    return f"{len(names)} image has" if len(names) == 1 else f"{len(names)} images have"


def _header(file: Path) -> tuple[bool, int]:
    """Whether an image has more than 8 bits per value, and its number of pages."""
    try:
        with opened_image(file) as image:
            return is_deep(image), pages_of(image)
    except Exception:  # the command that reads the file reports the error
        return False, 1
