"""SBD's .mat files, read without SciPy, whose reader ends the process at a damaged one.

What there is of MATLAB's format 5: structs of arrays, compressed or not. Other things in a struct
(cells, sparse arrays, text) are passed over.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

HEAD = 128
"""Bytes before the first element."""
MOST_BYTES = 1 << 25
"""Of an element once it is unpacked; SBD's are below 1 MB."""

_MATRIX, _COMPRESSED = 14, 15
_KINDS = {
    1: "i1",
    2: "u1",
    3: "i2",
    4: "u2",
    5: "i4",
    6: "u4",
    7: "f4",
    9: "f8",
    12: "i8",
    13: "u8",
}
"""NumPy's names of the numbers that an element holds, by its type."""
_STRUCT, _NUMBERS = 2, range(6, 16)
"""Classes of matrices."""


@dataclass(frozen=True)
class _Element:
    kind: int
    data: memoryview
    order: str

    def numbers(self) -> NDArray[np.generic]:
        if self.kind not in _KINDS:
            raise ValueError(f"an element of type {self.kind} where numbers are expected")
        return np.frombuffer(self.data, self.order + _KINDS[self.kind])


def read_struct(path: Path, name: str, fields: tuple[str, ...]) -> dict[str, NDArray[np.generic]]:
    """Arrays of the one struct of a name in a .mat file of format 5.

    Args:
        path: the file.
        name: of the struct.
        fields: of the struct that are wanted.

    Returns:
        The arrays by field, in their own shape and dtype.

    Raises:
        ValueError: it is not of this form, with what is wrong.
        OSError: the file cannot be read.
    """
    content = path.read_bytes()
    order = {b"IM": "<", b"MI": ">"}.get(content[126:HEAD])
    if order is None:
        raise ValueError("it is no MATLAB file of format 5")
    for element in _elements(memoryview(content)[HEAD:], order):
        whole = _unpacked(element) if element.kind == _COMPRESSED else element
        if whole.kind != _MATRIX or not len(whole.data):
            continue
        parts = _elements(whole.data, order)
        kind, shape, called = _head(parts)
        if called == name and kind == _STRUCT and shape == (1, 1):
            return _fields(parts, fields)
    raise ValueError(f"it has no struct {name}")


def _elements(data: memoryview, order: str) -> Iterator[_Element]:
    """The elements that follow each other."""
    at, number = 0, "little" if order == "<" else "big"
    while at < len(data):
        if len(data) - at < 8:
            raise ValueError("it is cut short")
        kind = int.from_bytes(data[at : at + 4], number)  # type: ignore[arg-type]
        if kind >> 16:  # four bytes at most, in the tag itself
            size, kind, start, end = kind >> 16, kind & 0xFFFF, at + 4, at + 8
            if size > 4:
                raise ValueError("an element is longer than its place")
        else:
            size, start = int.from_bytes(data[at + 4 : at + 8], number), at + 8  # type: ignore[arg-type]
            end = start + size + (0 if kind == _COMPRESSED else -size % 8)
        if start + size > len(data):
            raise ValueError("it is cut short")
        yield _Element(kind, data[start : start + size], order)
        at = end


def _unpacked(element: _Element) -> _Element:
    machine = zlib.decompressobj()
    try:
        head = machine.decompress(element.data, 8)
        declared = int.from_bytes(head[4:], "little" if element.order == "<" else "big")
        if declared > MOST_BYTES:
            raise ValueError(f"an element is larger than {MOST_BYTES} bytes")
        data = head + machine.decompress(machine.unconsumed_tail, declared + 1)
    except zlib.error as error:
        raise ValueError(str(error)) from error
    if len(data) > 8 + declared:
        raise ValueError("an element is larger than it declares")
    return _next(_elements(memoryview(data), element.order))


def _head(parts: Iterator[_Element]) -> tuple[int, tuple[int, ...], str]:
    """Class, shape and name of a matrix."""
    flags, shape, name = (_next(parts) for _ in range(3))
    if len(flags.data) != 8 or flags.kind != 6:
        raise ValueError("a matrix has no class")
    sides = tuple(int(side) for side in shape.numbers())
    return int(flags.numbers()[0]) & 0xFF, sides, bytes(name.data).decode("latin-1")


def _fields(parts: Iterator[_Element], wanted: tuple[str, ...]) -> dict[str, NDArray[np.generic]]:
    length = _next(parts).numbers()
    size = int(length[0]) if len(length) == 1 else 0
    names = bytes(_next(parts).data)
    if not 0 < size <= 256 or len(names) % size:
        raise ValueError("a struct has no names")
    found = {}
    for start in range(0, len(names), size):
        name = names[start : start + size].split(b"\0")[0].decode("latin-1")
        matrix = _next(parts)
        if name in wanted:
            found[name] = _array(matrix, name)
    lacking = [name for name in wanted if name not in found]
    if lacking:
        raise ValueError(f"it has no field {lacking[0]}")
    return found


def _array(matrix: _Element, name: str) -> NDArray[np.generic]:
    if matrix.kind != _MATRIX or not len(matrix.data):
        raise ValueError(f"its field {name} holds no array")
    parts = _elements(matrix.data, matrix.order)
    kind, shape, _ = _head(parts)
    if kind not in _NUMBERS:
        raise ValueError(f"its field {name} holds no numbers")
    values = _next(parts).numbers()
    count = 1
    for side in shape:
        count *= side
    if min(shape, default=0) < 0 or count != len(values):
        raise ValueError(f"its field {name} has {len(values)} numbers for a shape of {shape}")
    return values.reshape(shape, order="F")


def _next(parts: Iterator[_Element]) -> _Element:
    part = next(parts, None)
    if part is None:
        raise ValueError("it is cut short")
    return part
