"""Files written whole or not at all, and read with one clear sentence when they cannot be."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

from p2seg.errors import UserError
from p2seg.runtime.temporary import temporary_name

PROBE = 1 << 20
"""Bytes that are written to see whether a disk is full."""

_WATCHERS: list[Callable[[Path, Path], None]] = []


@contextmanager
def watching(watcher: Callable[[Path, Path], None]) -> Iterator[None]:
    """Has every file of the block seen before it is put in its place, whichever thread writes it.

    Args:
        watcher: gets the finished temporary file and the path that it is about to get.
    """
    _WATCHERS.append(watcher)
    try:
        yield
    finally:
        _WATCHERS.remove(watcher)


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Gives a temporary path beside `path` that becomes `path` when the block ends well.

    The temporary file is flushed to the disk and renamed, and the folder is flushed too, so that
    a reader sees the old file or the new one, never a part. The temporary file is removed when the
    block raises. Missing folders are made. A file that is replaced keeps its permissions and, if
    the system allows it, its owner. A symbolic link is itself replaced: the file that it points to
    may be somebody else's.

    Args:
        path: the file to write.

    Yields:
        A path in the same folder, with the same suffix: an empty file with the permissions of
        the one that it replaces, or no file yet.

    Raises:
        OSError: the system refuses, with `path` as the file's name; also where what writes only
            says that it failed, as C++ code does on a full disk.
    """
    temporary = temporary_name(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        before = _state_of(path)
        if before is not None:  # nobody may look into it while it is written either
            temporary.touch(mode=0o600, exist_ok=False)
            _take_over(temporary, before, stat.S_IWUSR)
        try:
            yield temporary
            with temporary.open("rb+") as stream:
                if before is not None:
                    temporary.chmod(stat.S_IMODE(before.st_mode))
                os.fsync(stream.fileno())
        except Exception as error:
            if not _is_told(error):
                _probe(temporary, error)
            raise
        _move(temporary, path)
    except OSError as error:
        _raise_for(path, error, temporary)
    finally:
        with suppress(OSError):  # a folder that has vanished holds nothing to remove
            temporary.unlink()


def _move(temporary: Path, path: Path) -> None:
    """Puts a finished file in its place."""
    for watcher in _WATCHERS:
        watcher(temporary, path)
    temporary.replace(path)
    _sync_folder(path.parent)


def _state_of(path: Path) -> os.stat_result | None:
    """Whose a file is, and who may read it; None if there is no file, or a link."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return None
    return found if stat.S_ISREG(found.st_mode) else None


def _take_over(path: Path, before: os.stat_result, more: int) -> None:
    """Gives a file the owner and the permissions of another, and some permissions more."""
    own = path.stat()
    if (own.st_uid, own.st_gid) != (before.st_uid, before.st_gid) and hasattr(os, "chown"):
        with suppress(PermissionError):
            os.chown(path, before.st_uid, before.st_gid)
    path.chmod(stat.S_IMODE(before.st_mode) | more)


def _sync_folder(folder: Path) -> None:
    """Flushes the names in a folder to the disk, where the system can."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _is_told(error: Exception) -> bool:
    """Whether the system, or a sentence of ours, has said why a file was not written."""
    return isinstance(error, UserError) or (isinstance(error, OSError) and error.errno is not None)


def _probe(temporary: Path, error: Exception) -> None:
    """Raises the system's reason where no more can be written to a file."""
    if temporary.is_file():
        try:
            with temporary.open("ab") as stream:
                stream.write(bytes(PROBE))
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as reason:
            raise reason from error


def _raise_for(path: Path, error: OSError, temporary: Path) -> NoReturn:
    """Raises the error, told of the file that was wanted and not of the temporary one."""
    foreign = error.filename2 is None and error.filename not in (None, str(temporary))
    if foreign or error.errno is None:
        raise error
    raise OSError(error.errno, error.strerror, str(path)) from error


@contextmanager
def temporary_folder(path: Path) -> Iterator[Path]:
    """Gives a new folder beside `path`, which is removed when the block ends.

    Raises:
        OSError: the system refuses, with `path` as the file's name where it names none.
    """
    temporary = temporary_name(path)
    try:
        temporary.mkdir(parents=True)
        yield temporary
    except OSError as error:
        _raise_for(path, error, temporary)
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
        OSError: the system refuses, with `path` as the file's name.
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
        _raise_for(path, error, path)


def write_text(path: Path, content: str) -> None:
    """Writes `content` to `path` atomically, as UTF-8."""
    write_bytes(path, content.encode())


def write_json(path: Path, content: Any, *, indent: int | None = None) -> None:
    """Writes `content` to `path` atomically, as JSON (no NaN: JSON has none)."""
    text = json.dumps(content, indent=indent, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n")


def write_json_list(path: Path, items: Iterable[Any]) -> None:
    """Writes a JSON list to `path` atomically, item by item: no more than one is in memory.

    Args:
        path: the file; it is there after the last item, with one item a line.
        items: what JSON can hold.
    """
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as stream:
        stream.write("[")
        for index, item in enumerate(items):
            stream.write(",\n" if index else "\n")
            stream.write(json.dumps(item, ensure_ascii=False, allow_nan=False))
        stream.write("\n]\n")


def write_json_object(path: Path, content: Mapping[str, Any]) -> None:
    """Writes a JSON object to `path` atomically, item by item of its long lists.

    The bytes are those of `write_json`.

    Args:
        path: the file.
        content: what JSON can hold, or iterators of it, which become lists.
    """
    coder = json.JSONEncoder(ensure_ascii=False, allow_nan=False)
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as stream:
        stream.write("{")
        for index, (key, value) in enumerate(content.items()):
            stream.write(", " * (index > 0) + coder.encode(key) + ": ")
            if isinstance(value, Iterator):
                stream.write("[")
                for place, item in enumerate(value):
                    stream.write(", " * (place > 0) + coder.encode(item))
                stream.write("]")
            else:
                stream.write(coder.encode(value))
        stream.write("}\n")


def write_link(path: Path, target: Path) -> None:
    """Makes `path` a link to a file, or a copy where the system has no links; atomically."""
    if path.exists() and path.samefile(target):
        return  # or a file would be replaced by a link to itself
    try:
        write_symlink(path, target)
    except (OSError, NotImplementedError):
        _put(path, lambda temporary: shutil.copyfile(target, temporary))


def write_symlink(path: Path, target: Path) -> None:
    """Makes `path` a symbolic link to a file or folder, in place of a link or file before.

    Raises:
        OSError: the system makes no links here, or refuses.
        NotImplementedError: so does Python.
    """
    folder = target.is_dir()
    _put(path, lambda temporary: temporary.symlink_to(target.resolve(), folder))


def write_second_name(path: Path, target: Path) -> None:
    """Gives a file a second name, or copies it where the file system has no hard links."""
    try:
        _put(path, lambda temporary: temporary.hardlink_to(target.resolve()))
    except OSError:
        _put(path, lambda temporary: shutil.copyfile(target, temporary))


def _put(path: Path, make: Callable[[Path], object]) -> None:
    """Makes something under a temporary name and gives it its own, in place of what has it."""
    temporary = temporary_name(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        make(temporary)
        _move(temporary, path)
    except OSError as error:
        _raise_for(path, error, temporary)
    finally:
        with suppress(OSError):
            temporary.unlink()


def read_text(path: Path, what: str) -> str:
    """Reads a text file in UTF-8, UTF-16 or UTF-32.

    Args:
        path: the file.
        what: what the file should be, for the error ("points file").

    Returns:
        The text without a byte order mark.

    Raises:
        UserError: the text is in another encoding.
    """
    try:
        return path.read_text(encoding=encoding_of(path))
    except UnicodeDecodeError as error:
        raise not_utf8(path, what, error) from error


def encoding_of(path: Path) -> str:
    """Which encoding of Unicode a text file is in, for `open`.

    The rule is that of JSON: a byte order mark says it, else which of the first bytes are zero.
    """
    with path.open("rb") as stream:
        return json.detect_encoding(stream.read(4))


def not_utf8(path: Path, what: str, error: UnicodeDecodeError) -> UserError:
    """The sentence of a text file in another encoding.

    Args:
        path: the file.
        what: what the file should be ("points file").
        error: of the codec.
    """
    return UserError(
        f"{path} is not a readable {what}: its text is not in {error.encoding.upper()} "
        f"({error.reason} at byte {error.start}); save it as UTF-8"
    )


def read_json(path: Path, what: str) -> Any:
    """Reads a JSON file in UTF-8, UTF-16 or UTF-32.

    Args:
        path: the file.
        what: what the file should be, for the error ("points file").

    Returns:
        What the file holds.

    Raises:
        UserError: there is no such file, it is in another encoding, or it is no JSON.
    """
    if not path.is_file():
        raise UserError(f"no {what} at {path}: give the path of an existing JSON file")
    text = read_text(path, what)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path} is not a readable {what}: {reason}; it must be JSON") from error


def files_below(folder: Path) -> Iterator[Path]:
    """Every file below a folder, also links to nothing; each folder is walked once.

    Links to other folders are followed, but for those above this one. Folders come before links to
    them, so that a file has the same name every time.
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
    """What changes with every change of a file, without reading it: "missing" if it is not there.

    Besides size and time it holds the inode and the time of the inode's last change, which no
    program can set: a file replaced by one of equal size and time has another stamp.
    """
    try:
        found = path.stat()
    except OSError:
        return "missing"
    return f"{found.st_size} {found.st_mtime_ns} {found.st_ctime_ns} {found.st_ino}"


def sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def fingerprint(content: Any) -> str:
    """The SHA-256 of anything JSON can hold, independent of the order of keys."""
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
