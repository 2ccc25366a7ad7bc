"""Reads JSON files of any size; msgspec decodes their long lists in blocks."""

from __future__ import annotations

import json
import mmap
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from msgspec import Raw
from numpy.typing import NDArray

from p2seg.errors import UserError
from p2seg.runtime.files import encoding_of, read_json

Parts = Iterator[list[Any]]
Bytes = NDArray[np.uint8]

ITEMS = 4096
"""Items per block."""
_decode = msgspec.json.Decoder().decode
_REJECTED = (msgspec.MsgspecError, ValueError, RecursionError)


def read_lists(
    path: Path, what: str, keys: Collection[str], items: int = ITEMS
) -> tuple[Any, dict[str, Parts]]:
    """Reads a JSON file whose long lists are decoded in blocks.

    Python's parser reads a file or an item that msgspec rejects. It accepts NaN, infinity and lone
    surrogates, and its errors name line and column.

    Args:
        path: the file.
        what: what the file should be, for the error ("points file").
        keys: keys of the lists in the outermost object that are decoded in blocks.
        items: most items of a block.

    Returns:
        The content of the file, with empty lists under `keys`, and an iterator of blocks for each
        of these lists.

    Raises:
        UserError: the file is missing or not JSON; the iterators can raise it, too.
    """
    if not path.is_file():
        raise UserError(f"no {what} at {path}: give the path of an existing JSON file")
    text = _text_of(path)
    lists: dict[str, Parts] = {}
    content: Any
    try:
        content = {}
        for key, raw in msgspec.json.decode(text, type=dict[str, Raw]).items():
            if key in keys and memoryview(raw)[0] == ord("["):
                lists[key] = _decoded(raw, items, text, path, what)
                content[key] = []
            else:
                content[key] = _decode(raw)
    except _REJECTED:
        content = read_json(path, what)
        present = keys if isinstance(content, dict) else ()
        for key in [each for each in present if isinstance(content.get(each), list)]:
            lists[key] = _parts(content[key], items)
            content[key] = []
    return content, lists


def _text_of(path: Path) -> Any:
    """The text of a file in UTF-8, in memory that can be released page by page."""
    encoding = encoding_of(path)
    size = path.stat().st_size
    if encoding != "utf-8" or not size:
        return b""  # msgspec rejects it, so that Python's parser reads the file
    text = mmap.mmap(-1, size)
    with path.open("rb") as stream:
        stream.readinto(text)
    return text


def _parts(values: list[Any], items: int) -> Parts:
    for start in range(0, len(values), items):
        yield values[start : start + items]


def _decoded(whole: Raw, items: int, text: mmap.mmap, path: Path, what: str) -> Parts:
    """Decodes the items of a list in blocks and releases the memory of their text."""
    begin = _address(text)
    for part in _parts(msgspec.json.decode(whole, type=list[Raw]), items):
        try:
            values = list(map(_decode, part))
        except _REJECTED:
            values = [_by_python(raw, path, what) for raw in part]
        yield values
        if hasattr(mmap, "MADV_DONTNEED"):
            # only pages without text of other items
            first = -(-(_address(part[0]) - begin) // mmap.PAGESIZE) * mmap.PAGESIZE
            last = (_address(part[-1]) - begin) // mmap.PAGESIZE * mmap.PAGESIZE
            if last > first:
                text.madvise(mmap.MADV_DONTNEED, first, last - first)


def _address(text: Any) -> int:
    return int(np.frombuffer(text, np.uint8).ctypes.data)


def _by_python(raw: Raw, path: Path, what: str) -> Any:
    try:
        return json.loads(bytes(raw).decode())
    except (ValueError, RecursionError):
        read_json(path, what)  # raises an error with the line and column in the whole file
        raise
