"""Files written whole or not at all, and read with one clear sentence when they cannot be."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from p2seg.errors import UserError


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Gives a temporary path beside `path` that becomes `path` when the block ends well.

    The temporary file is flushed to the disk and renamed, so that a reader sees the old file or
    the new one, never a part; it is removed when the block raises. Missing folders are made.

    Args:
        path: the file to write.

    Yields:
        A path in the same folder, with the same suffix, that does not exist yet.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem[:80]}.{secrets.token_hex(4)}{path.suffix}")
    try:
        yield temporary
        with temporary.open("rb+") as stream:
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Writes `content` to `path` atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


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
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem[:80]}.{secrets.token_hex(4)}{path.suffix}")
    try:
        try:
            temporary.symlink_to(target.resolve())
        except (OSError, NotImplementedError):
            shutil.copyfile(target, temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def read_json(path: Path, what: str) -> Any:
    """Reads a JSON file.

    Args:
        path: the file.
        what: what the file should be, for the error ("points file").

    Returns:
        What the file holds.

    Raises:
        UserError: there is no such file, or it is no JSON.
    """
    if not path.is_file():
        raise UserError(f"no {what} at {path}: give the path of an existing JSON file")
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
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
    """The SHA-256 of anything JSON can hold, independent of the order of keys."""
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
