"""A first look at every file of a data set; a restarted run looks only at what has changed."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import PIL

from p2seg.errors import UserError
from p2seg.files import stamp_of, write_json

READERS = 8
"""Threads that try files; Pillow decodes outside Python's lock."""
AT_ONCE = 512
"""Looks that wait for a thread."""
RULES = 1
"""Counts the changes of what a look finds wrong: what was found by others counts for nothing."""
EVERY = 60.0
"""Seconds after which what was found so far is kept: the run may be stopped any time."""


@dataclass(frozen=True)
class Look:
    """One look at some files.

    Attributes:
        files: what is read.
        said: everything else that decides what comes of it, such as names and sizes.
        take: raises a `UserError` where something is wrong.
    """

    files: tuple[Path, ...]
    said: tuple[Any, ...]
    take: Callable[[], object]


def mistakes(looks: Iterable[Look], known: Path | None, *, stop: bool) -> Iterator[str | None]:
    """What is wrong with each of many files, in their order; None where nothing is.

    Args:
        looks: at the files.
        known: a file that remembers which files were found right, by `stamp_of`: those are not
            read again. It is written here. None: every file is read.
        stop: raise at the first mistake.

    Raises:
        UserError: of the first mistake, with `stop`.
    """
    before = _known(known)
    right: set[str] = set()
    kept = time.monotonic()

    def tried(look: Look) -> tuple[str | None, str | None]:
        key = _key(look)
        if key in before:
            return key, None
        try:
            look.take()
        except UserError as error:
            return None, str(error)
        return key, None

    waiting = iter(looks)
    whole = False
    with ThreadPoolExecutor(READERS) as pool:
        try:
            while some := list(islice(waiting, AT_ONCE)):
                for key, error in pool.map(tried, some):
                    if error is not None and stop:
                        pool.shutdown(wait=False, cancel_futures=True)
                        raise UserError(error)
                    if key is not None:
                        right.add(key)
                    yield error
                if time.monotonic() - kept > EVERY:
                    _keep(known, right | before)
                    kept = time.monotonic()
            whole = True
        finally:
            if right - before or (whole and before - right):
                _keep(known, right if whole else right | before)


def _key(look: Look) -> str | None:
    """What a look depends on; None where a file is not there."""
    stamps = [stamp_of(file) for file in look.files]
    if "missing" in stamps:
        return None
    parts = (RULES, PIL.__version__, look.said, stamps)
    return hashlib.blake2b(repr(parts).encode(errors="replace"), digest_size=12).hexdigest()


def _known(path: Path | None) -> set[str]:
    """What the file remembers; nothing where it is not what was written here."""
    if path is None:
        return set()
    with suppress(OSError, ValueError, RecursionError):
        content = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(content, dict) and isinstance(content.get("readable"), list):
            return {each for each in content["readable"] if isinstance(each, str)}
    return set()


def _keep(path: Path | None, right: set[str]) -> None:
    if path is not None:
        with suppress(OSError):  # the run says soon enough that its folder takes no file
            write_json(path, {"readable": sorted(right)})
