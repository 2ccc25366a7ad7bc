"""Atomic writing of files, and reading of text and JSON with one clear error message."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

from p2seg.errors import UserError
from p2seg.runtime.temporary import temporary_name

PROBE = 1 << 20
"""Bytes written to test whether the disk is full."""

_WATCHERS: list[Callable[[Path, Path], None]] = []


@contextmanager
def watching(watcher: Callable[[Path, Path], None]) -> Iterator[None]:
    """Within the block, calls `watcher` before each file is renamed to its path, in any thread.

    Args:
        watcher: called with the finished temporary file and the path that it will get.
    """
    _WATCHERS.append(watcher)
    try:
        yield
    finally:
        _WATCHERS.remove(watcher)


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yields a temporary path next to `path`, which is renamed to `path` when the block succeeds.

    The file and its folder are flushed to the disk, so a reader sees the old file or the new one,
    never a part. If the block raises, the temporary file is removed. Missing folders are created.
    A replaced file keeps its permissions and, if the system allows it, its owner. A symbolic link
    is replaced itself, because its target may belong to somebody else.

    Args:
        path: the file to write.

    Yields:
        A path in the same folder with the same suffix. If `path` exists, the temporary file
        exists too and is empty, with the permissions of `path`.

    Raises:
        OSError: the file cannot be written; its `filename` is `path`. If the writer reported no
            reason, as C++ code on a full disk, the reason is determined by a test write.
    """
    temporary = temporary_name(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        before = _state_of(path)
        if before is not None:  # a protected file stays protected while it is being written
            temporary.touch(mode=0o600, exist_ok=False)
            _take_over(temporary, before, stat.S_IWUSR)
        try:
            yield temporary
            with temporary.open("rb+") as stream:
                if before is not None:
                    temporary.chmod(stat.S_IMODE(before.st_mode))
                os.fsync(stream.fileno())
        except Exception as error:
            if not _has_reason(error):
                _probe(temporary, error)
            raise
        move_into_place(temporary, path)
    except OSError as error:
        raise_for(path, error, temporary)
    finally:
        with suppress(OSError):  # the folder may have been deleted meanwhile
            temporary.unlink()


def move_into_place(temporary: Path, path: Path) -> None:
    """Calls the watchers, renames `temporary` to `path` and flushes the folder."""
    for watcher in _WATCHERS:
        watcher(temporary, path)
    temporary.replace(path)
    _sync_folder(path.parent)


def _state_of(path: Path) -> os.stat_result | None:
    """The owner and permissions of a regular file; None for a missing file or a link."""
    try:
        state = path.lstat()
    except FileNotFoundError:
        return None
    return state if stat.S_ISREG(state.st_mode) else None


def _take_over(path: Path, before: os.stat_result, more: int) -> None:
    """Sets the owner of `path` to that of `before`, and its permissions with the bits of `more`."""
    own = path.stat()
    if (own.st_uid, own.st_gid) != (before.st_uid, before.st_gid) and hasattr(os, "chown"):
        with suppress(PermissionError):
            os.chown(path, before.st_uid, before.st_gid)
    path.chmod(stat.S_IMODE(before.st_mode) | more)


def _sync_folder(folder: Path) -> None:
    """Flushes the entries of a folder to the disk, if the system supports it."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _has_reason(error: Exception) -> bool:
    """Whether the error already says why the file was not written."""
    return isinstance(error, UserError) or (isinstance(error, OSError) and error.errno is not None)


def _probe(temporary: Path, error: Exception) -> None:
    """Raises the system's error if nothing more can be written to the file."""
    if temporary.is_file():
        try:
            with temporary.open("ab") as stream:
                stream.write(bytes(PROBE))
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as reason:
            raise reason from error


def raise_for(path: Path, error: OSError, temporary: Path) -> NoReturn:
    """Raises the error with `path` as its file name instead of the temporary path."""
    foreign = error.filename2 is None and error.filename not in (None, str(temporary))
    if foreign or error.errno is None:
        raise error
    raise OSError(error.errno, error.strerror, str(path)) from error


@contextmanager
def temporary_folder(path: Path) -> Iterator[Path]:
    """Yields a new folder next to `path`, which is removed when the block ends.

    Raises:
        OSError: the folder cannot be created; `filename` is `path` if the system named no other.
    """
    temporary = temporary_name(path)
    try:
        temporary.mkdir(parents=True)
        yield temporary
    except OSError as error:
        raise_for(path, error, temporary)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Writes `content` to `path` atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def append_line(path: Path, line: bytes, *, flush: bool = False) -> None:
    """Adds a line to a file that grows, whole or not at all; missing folders are made.

    Args:
        path: the file.
        line: without the newline. It stands on a line of its own even if the last one was torn.
        flush: waits until the line is on the disk.

    Raises:
        OSError: the line cannot be written; its `filename` is `path`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("ab", buffering=0) as stream:
            start = stream.tell()
            content = b"\n" + line  # a newline first: a killed process may have torn its line
            try:
                while content:
                    content = content[stream.write(content) :]
                if flush:
                    os.fsync(stream.fileno())
            except OSError:
                stream.truncate(start)
                raise
        if flush and not start:
            _sync_folder(path.parent)
    except OSError as error:
        raise_for(path, error, path)


def write_text(path: Path, content: str) -> None:
    """Writes `content` to `path` atomically, as UTF-8."""
    write_bytes(path, content.encode())


def write_json(path: Path, content: Any, *, indent: int | None = None) -> None:
    """Writes `content` to `path` atomically as JSON; NaN raises `ValueError`."""
    text = json.dumps(content, indent=indent, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n")


def read_text(path: Path, what: str) -> str:
    """Reads a text file in UTF-8, UTF-16 or UTF-32.

    Args:
        path: the file.
        what: the kind of file, for the error message ("points file").

    Returns:
        The text without a byte order mark.

    Raises:
        UserError: the text is in another encoding.
    """
    try:
        return path.read_text(encoding=encoding_of(path))
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path} is not a readable {what}: its text is not in {error.encoding.upper()} "
            f"({error.reason} at byte {error.start}); save it as UTF-8"
        ) from error


def encoding_of(path: Path) -> str:
    """The Unicode encoding of a text file, for `open`.

    It follows from the byte order mark, or else from which of the first bytes are zero.
    """
    with path.open("rb") as stream:
        return json.detect_encoding(stream.read(4))


def read_json(path: Path, what: str) -> Any:
    """Reads a JSON file in UTF-8, UTF-16 or UTF-32, and returns its value.

    Args:
        path: the file.
        what: the kind of file, for the error message ("points file").

    Raises:
        UserError: the file does not exist, has another encoding, or is not JSON.
    """
    if not path.is_file():
        raise UserError(f"no {what} at {path}: give the path of an existing JSON file")
    text = read_text(path, what)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path} is not a readable {what}: {reason}; it must be JSON") from error


def sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def fingerprint(content: Any) -> str:
    """The SHA-256 of a JSON value, independent of the order of keys."""
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
