"""The fingerprint of many files by their content, without reading unchanged files again."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from p2seg.errors import UserError
from p2seg.runtime.files import fingerprint, read_json, write_json
from p2seg.runtime.temporary import sweep

READERS = 8
"""Files that are read at the same time."""

SETTLED = 2 * 10**9
"""Nanoseconds after which every further change gets another time stamp; FAT counts in 2 s."""

_SHA256 = re.compile(r"[0-9a-f]{64}")


class Known(NamedTuple):
    """A file's SHA-256, and what the file system said about the file when it was read.

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
    found = hashes_of(files, root, cache)
    return fingerprint(sorted((_name(path, root), sha256) for path, sha256 in found.items()))


def hashes_of(files: Iterable[Path], root: Path, cache: Path | None) -> dict[Path, str | None]:
    """The SHA-256 of each file.

    Args:
        files: the paths.
        root: folder that names are relative to.
        cache: folder that keeps the SHA-256 of each file, for instance `cache_folder()`. A file
            is read again if its size, its times or its inode have changed, or if it had been
            changed less than 2 seconds before it was read. None: every file is read. So it is if
            the cache is damaged or cannot be written.

    Returns:
        64 hexadecimal digits by path; None for a file that is missing, unreadable or not a regular
        file.
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
        found = dict(threads.map(read, paths))
    finally:
        threads.shutdown(cancel_futures=True)
    after = {name: known for name, known in before.items() if name not in paths} | kept
    if place is not None and after != before:
        sweep(place.parent, deep=False)  # nobody claims the cache, whose files are small and few
        with suppress(OSError):
            write_json(place, after)
    return {path: found[name] for path, name in names.items()}


def _name(path: Path, root: Path) -> str:
    return os.path.relpath(path, root).replace(os.sep, "/")


def cache_folder() -> Path | None:
    """The user's folder for data that can be made again; None if the user has no home.

    It is `p2seg` in `$XDG_CACHE_HOME`, or in `~/.cache` if that is not set.
    """
    given = os.environ.get("XDG_CACHE_HOME", "")
    try:
        home = Path(given) if Path(given).is_absolute() else Path.home() / ".cache"
    except RuntimeError:
        return None
    return home / "p2seg"


def _known(path: Path, before: Known | None) -> tuple[Known, bool]:
    """What is known of a file, and whether its state shows every later change.

    Raises:
        OSError: the file is missing, unreadable or not a regular file.
    """
    now, found = time.time_ns(), path.stat()
    if before is not None and before == _state(before.sha256, found):
        return before, True
    if not stat.S_ISREG(found.st_mode):
        raise OSError(f"{path} is not a regular file")  # a pipe would wait for a writer
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
        known = _state(digest.hexdigest(), os.fstat(stream.fileno()))
    unchanged = known == _state(known.sha256, found)
    return known, unchanged and max(known.modified, known.changed) < now - SETTLED


def _state(sha256: str, found: os.stat_result) -> Known:
    return Known(sha256, found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)


def _kept(place: Path) -> dict[str, Known]:
    """What a cache file holds, without damaged entries."""
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
