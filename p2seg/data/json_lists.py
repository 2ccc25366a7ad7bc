"""JSON files of any size: their long lists are decoded in parts, by msgspec."""

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
"""Items that are decoded at once."""
_decode = msgspec.json.Decoder().decode
_REJECTED = (msgspec.MsgspecError, ValueError, RecursionError)


def read_lists(
    path: Path, what: str, keys: Collection[str], items: int = ITEMS
) -> tuple[Any, dict[str, Parts]]:
    """Reads a JSON file whose long lists are decoded in parts.

    A file or an item that msgspec rejects goes to Python's parser. That accepts NaN, infinity and
    lone surrogates, and its errors name line and column.

    Args:
        path: the file.
        what: what the file should be, for the error ("points file").
        keys: of the outermost object: the lists that are decoded in parts.
        items: how many items a part has at most.

    Returns:
        What the file holds, as `json.loads` gives it, but with an empty list under each of the
        keys that has a list. And the items of these lists by key. Each list can be read once.

    Raises:
        UserError: there is no such file, or it is no JSON; also from the iterators.
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
        found = keys if isinstance(content, dict) else ()
        for key in [each for each in found if isinstance(content.get(each), list)]:
            lists[key] = _parts(content[key], items)
            content[key] = []
    return content, lists


def _text_of(path: Path) -> Any:
    """The text of a file in UTF-8, in memory that can be given back in parts."""
    encoding = encoding_of(path)
    size = path.stat().st_size
    if encoding != "utf-8" or not size:
        return b""  # which is no JSON, so that Python's parser reads the file
    text = mmap.mmap(-1, size)
    with path.open("rb") as stream:
        stream.readinto(text)
    return text


def _parts(values: list[Any], items: int) -> Parts:
    for start in range(0, len(values), items):
        yield values[start : start + items]


def _decoded(whole: Raw, items: int, text: mmap.mmap, path: Path, what: str) -> Parts:
    """Decodes the items of a list, and gives the memory of their text back."""
    begin = _address(text)
    for part in _parts(msgspec.json.decode(whole, type=list[Raw]), items):
        try:
            values = list(map(_decode, part))
        except _REJECTED:
            values = [_by_python(raw, path, what) for raw in part]
        yield values
        if hasattr(mmap, "MADV_DONTNEED"):
            # whole pages of these items alone
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
        read_json(path, what)  # raises, with the place in the whole file
        raise
