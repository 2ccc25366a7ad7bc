"""Checks that every file of a data set can be read; a restart checks only changed files."""

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
from p2seg.runtime.content_fingerprint import stamp_of
from p2seg.runtime.files import write_json

READERS = 8
"""Threads that read files; Pillow releases the global interpreter lock while it decodes."""
AT_ONCE = 512
"""Checks that are submitted to the threads together."""
RULES = 1
"""Version of the checks; increment it when a check changes, so that every file is read again."""
SAVE_SECONDS = 60.0
"""Seconds between two writes of the record, so that a killed run repeats few checks."""


@dataclass(frozen=True)
class FileCheck:
    """One check of some files.

    Attributes:
        files: the files that are read.
        context: everything else that the result depends on, such as names and sizes.
        run: raises a `UserError` if something is wrong.
    """

    files: tuple[Path, ...]
    context: tuple[Any, ...]
    run: Callable[[], object]


def failures(
    checks: Iterable[FileCheck], record: Path | None, *, stop: bool
) -> Iterator[str | None]:
    """Runs checks in threads and yields the error of each in order; None if it passes.

    Args:
        checks: the checks.
        record: a JSON file with the checks that passed before, by `stamp_of` their files; these
            are not run again. The file is updated. None: every check runs.
        stop: raise the first error.

    Raises:
        UserError: the first error, with `stop`.
    """
    before = _read(record)
    passed: set[str] = set()
    saved = time.monotonic()

    def run(check: FileCheck) -> tuple[str | None, str | None]:
        key = _key(check)
        if key in before:
            return key, None
        try:
            check.run()
        except UserError as error:
            return None, str(error)
        return key, None

    waiting = iter(checks)
    complete = False
    with ThreadPoolExecutor(READERS) as pool:
        try:
            while block := list(islice(waiting, AT_ONCE)):
                for key, error in pool.map(run, block):
                    if error is not None and stop:
                        pool.shutdown(wait=False, cancel_futures=True)
                        raise UserError(error)
                    if key is not None:
                        passed.add(key)
                    yield error
                if time.monotonic() - saved > SAVE_SECONDS:
                    _save(record, passed | before)
                    saved = time.monotonic()
            complete = True
        finally:
            if passed - before or (complete and before - passed):
                _save(record, passed if complete else passed | before)


def _key(check: FileCheck) -> str | None:
    """A hash of what a check depends on; None if a file is missing."""
    stamps = [stamp_of(file) for file in check.files]
    if "missing" in stamps:
        return None
    parts = (RULES, PIL.__version__, check.context, stamps)
    return hashlib.blake2b(repr(parts).encode(errors="replace"), digest_size=12).hexdigest()


def _read(record: Path | None) -> set[str]:
    """The keys in the record; empty if the file is missing or damaged."""
    if record is None:
        return set()
    with suppress(OSError, ValueError, RecursionError):
        content = json.loads(record.read_text(encoding="utf-8"))
        if isinstance(content, dict) and isinstance(content.get("readable"), list):
            return {each for each in content["readable"] if isinstance(each, str)}
    return set()


def _save(record: Path | None, passed: set[str]) -> None:
    if record is not None:
        with suppress(OSError):  # other files of the run report a folder that is not writable
            write_json(record, {"readable": sorted(passed)})
