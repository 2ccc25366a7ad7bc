"""Files below a folder, and their fingerprint by content without reading unchanged files again."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from p2seg.errors import UserError
from p2seg.runtime.files import fingerprint, read_json, write_json
from p2seg.runtime.temporary import sweep

READERS = 8
"""Files read at the same time."""

SETTLED = 2 * 10**9
"""Nanoseconds after which a further change gets another time stamp; FAT has a step of 2 s."""

_SHA256 = re.compile(r"[0-9a-f]{64}")


class Known(NamedTuple):
    """The SHA-256 of a file, and the state of the file when it was read.

    A program that replaces a file can set `modified` to the old time. It cannot set `changed`.
    """

    sha256: str
    bytes: int
    modified: int
    changed: int
    inode: int


def content_of(files: Iterable[Path], root: Path, cache: Path | None) -> str:
    """The SHA-256 of the names and contents of files, independent of their order.

    Args:
        files: the paths.
        root: folder that names are relative to.
        cache: see `hashes_of`.

    Returns:
        64 hexadecimal digits.
    """
    hashes = hashes_of(files, root, cache)
    return fingerprint(sorted((_name(path, root), sha256) for path, sha256 in hashes.items()))


def hashes_of(files: Iterable[Path], root: Path, cache: Path | None) -> dict[Path, str | None]:
    """The SHA-256 of each file.

    Args:
        files: the paths.
        root: folder that names are relative to.
        cache: folder that keeps the SHA-256 of each file, for instance `cache_folder()`. A file
            is read again if its size, its times or its inode have changed, or if it had been
            changed less than 2 seconds before it was read. With None, or if the cache is damaged
            or cannot be written, every file is read.

    Returns:
        64 hexadecimal digits by path; None for a missing, unreadable or irregular file.
    """
    names = {path: _name(path, root) for path in files}
    paths = {name: path for path, name in names.items()}
    place = cache and cache / f"content-{fingerprint(str(root.resolve()))[:32]}.json"
    before = {} if place is None else _kept(place)
    kept: dict[str, Known] = {}

    def read(name: str) -> tuple[str, str | None]:
        try:
            known, settled = _known(paths[name], before.get(name))
        except OSError:
            return name, None
        if settled:
            kept[name] = known
        return name, known.sha256

    threads = ThreadPoolExecutor(READERS, "content")
    try:
        hashes = dict(threads.map(read, paths))
    finally:
        threads.shutdown(cancel_futures=True)
    after = {name: known for name, known in before.items() if name not in paths} | kept
    if place is not None and after != before:
        sweep(place.parent, deep=False)  # the cache has no lock; its files are small and few
        with suppress(OSError):
            write_json(place, after)
    return {path: hashes[name] for path, name in names.items()}


def _name(path: Path, root: Path) -> str:
    return os.path.relpath(path, root).replace(os.sep, "/")


def files_below(folder: Path) -> Iterator[Path]:
    """Every file below a folder, including broken links; each folder is visited once.

    Links to folders are followed, except to the parents of this folder. Folders come before links
    to them, so that the name of a file is always the same.
    """
    above = set(folder.resolve().parents)
    seen: set[tuple[int, int]] = set()
    links: list[Path] = []

    def walk(start: Path) -> Iterator[Path]:
        for home, folders, names in os.walk(start):
            state = Path(home).stat()
            if (state.st_dev, state.st_ino) in seen:
                folders.clear()
                continue
            seen.add((state.st_dev, state.st_ino))
            folders.sort()
            links.extend(Path(home, each) for each in folders if Path(home, each).is_symlink())
            yield from (Path(home, each) for each in names)

    yield from walk(folder)
    while links:
        link = links.pop(0)
        if link.resolve() not in above:
            yield from walk(link)


def stamp_of(path: Path) -> str:
    """A text that changes with the file, without reading it; "missing" if there is no file.

    It holds the size, the modification time, the inode and the time of the inode's last change.
    No program can set the last one, so a replaced file of equal size and time is detected.
    """
    try:
        state = path.stat()
    except OSError:
        return "missing"
    return f"{state.st_size} {state.st_mtime_ns} {state.st_ctime_ns} {state.st_ino}"


def cache_folder() -> Path | None:
    """The user's cache folder of p2seg; None if the user has no home.

    It is `p2seg` in `$XDG_CACHE_HOME`, or in `~/.cache` if the variable is not set.
    """
    base = os.environ.get("XDG_CACHE_HOME", "")
    try:
        home = Path(base) if Path(base).is_absolute() else Path.home() / ".cache"
    except RuntimeError:
        return None
    return home / "p2seg"


def _known(path: Path, before: Known | None) -> tuple[Known, bool]:
    """The SHA-256 and state of a file, and whether the state will differ after a later change.

    Raises:
        OSError: the file is missing, unreadable or not a regular file.
    """
    now, current = time.time_ns(), path.stat()
    if before is not None and before == _state(before.sha256, current):
        return before, True
    if not stat.S_ISREG(current.st_mode):
        raise OSError(f"{path} is not a regular file")  # a pipe would wait for a writer
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
        known = _state(digest.hexdigest(), os.fstat(stream.fileno()))
    unchanged = known == _state(known.sha256, current)
    return known, unchanged and max(known.modified, known.changed) < now - SETTLED


def _state(sha256: str, state: os.stat_result) -> Known:
    return Known(sha256, state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino)


def _kept(place: Path) -> dict[str, Known]:
    """The valid entries of a cache file."""
    try:
        content = read_json(place, "cache")
    except (UserError, OSError):
        return {}
    items = content.items() if isinstance(content, dict) else ()
    return {name: Known(*value) for name, value in items if _is_known(value)}


def _is_known(value: object) -> bool:
    return (
        isinstance(value, list)
        and len(value) == len(Known._fields)
        and isinstance(value[0], str)
        and _SHA256.fullmatch(value[0]) is not None
        and all(type(each) is int for each in value[1:])
    )
