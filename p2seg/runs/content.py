"""Fingerprints of files by their content."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from p2seg.files import fingerprint, sha256

READERS = 8
"""Threads that read files; hashing is done outside Python's lock."""


def hashes_of(files: Iterable[Path]) -> list[str | None]:
    """The SHA-256 of each file; None if there is none."""
    with ThreadPoolExecutor(READERS) as pool:
        return list(pool.map(lambda file: sha256(file) if file.is_file() else None, files))


def content_of(files: Iterable[Path], root: Path) -> str:
    """A fingerprint of files by their names below a folder and their content.

    Args:
        files: in any order.
        root: the folder.
    """
    listed = sorted(files)
    names = [file.relative_to(root).as_posix() for file in listed]
    return fingerprint(list(zip(names, hashes_of(listed), strict=True)))
