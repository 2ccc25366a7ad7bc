"""Reads NumPy files of other programs; shapes are known before an array is decompressed.

`numpy.load` decompresses an array without a limit, so that a file of 400 kB can take 400 MB, and a
compressed array can be longer than its header declares. Pickles are rejected, because they can run
any code.
"""

from __future__ import annotations

import io
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from p2seg.errors import UserError

MOST_HEADER = 10_000
"""Most bytes of the header of an array; NumPy rejects longer headers only after reading them."""

MOST_ARRAYS = 1000
COMPRESSION_OF_NUMPY = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""For other compression methods, Python does not limit the decompressed size of a read."""


@dataclass(frozen=True)
class Declared:
    """The header of an array in a file.

    Attributes:
        shape: declared shape.
        dtype: declared type, never object.
        by_columns: whether the first index changes fastest (Fortran order).
        path: the file, for errors.
        stream: the file, positioned after the header.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    by_columns: bool
    path: Path
    stream: IO[bytes]

    def read(self) -> NDArray[Any]:
        """Reads the array; at most the declared size is decompressed.

        Raises:
            UserError: the array is damaged, or longer or shorter than declared.
        """
        size = prod(self.shape) * self.dtype.itemsize
        try:
            content = self.stream.read(size)
            if len(content) < size:
                raise ValueError("it is truncated")
            if self.stream.read(1):
                raise ValueError("it is longer than it declares")
        except Exception as error:  # zipfile and zlib raise errors of many types
            raise _unreadable(self.path, error) from error
        array = np.frombuffer(content, self.dtype)
        return array.reshape(self.shape, order="F" if self.by_columns else "C")


@contextmanager
def opened_arrays(path: Path) -> Iterator[dict[str, Declared]]:
    """Opens the arrays of an `.npz` file by name, or the array of an `.npy` file under "".

    Args:
        path: the file.

    Raises:
        UserError: the file is neither, is a pickle, or contains something else than arrays.
    """
    with ExitStack() as stack:
        try:
            arrays = _declared(path, stack)
        except UserError:
            raise
        except Exception as error:  # parsers raise errors of many types for a damaged file
            raise _unreadable(path, error) from error
        yield arrays


def _declared(path: Path, stack: ExitStack) -> dict[str, Declared]:
    stream = stack.enter_context(path.open("rb"))
    start = stream.read(6)
    stream.seek(0)
    if start == npy.MAGIC_PREFIX:
        return {"": _header(stream, path)}
    if start.startswith(b"\x80"):
        raise _pickled(path)
    if not start.startswith(b"PK"):
        raise ValueError("it does not begin like an .npy or .npz file")
    archive = stack.enter_context(zipfile.ZipFile(stream))
    members = archive.infolist()
    names = [each.filename.removesuffix(".npy") for each in members]
    if len(members) > MOST_ARRAYS or len(set(names)) < len(names):
        raise ValueError(
            f"it has {len(members)} arrays, more than {MOST_ARRAYS} or with equal names"
        )
    arrays = {}
    for name, member in zip(names, members, strict=True):
        if member.compress_type not in COMPRESSION_OF_NUMPY:
            raise ValueError("it has a compression method that NumPy does not use")
        part = stack.enter_context(archive.open(member))
        if not member.filename.endswith(".npy"):
            raise UserError(
                f"map {path} contains files that are not arrays; write it with np.savez"
            )
        arrays[name] = _header(part, path)
    return arrays


def _header(stream: IO[bytes], path: Path) -> Declared:
    start = stream.read(10)
    if not start.startswith(npy.MAGIC_PREFIX):
        raise ValueError("one of its members does not begin like an .npy file")
    size = int.from_bytes(start[8:10], "little")
    if start[6:8] == b"\x02\x00":  # version 2 has a header length of four bytes
        more = stream.read(2)
        start, size = start + more, size + (int.from_bytes(more, "little") << 16)
    elif start[6:8] != b"\x01\x00":
        raise ValueError("its arrays have a newer version of the .npy format")
    if size > MOST_HEADER:
        raise ValueError(f"it has a header of {size} bytes")
    whole = io.BytesIO(start + stream.read(size))
    reader = {1: npy.read_array_header_1_0, 2: npy.read_array_header_2_0}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NumPy warns about headers that Python 2 wrote
        shape, by_columns, dtype = reader[npy.read_magic(whole)[0]](whole)
    if dtype.hasobject:
        raise _pickled(path)
    if min(shape, default=0) < 0:
        raise ValueError("it has a negative size")
    return Declared(shape, dtype, by_columns, path, stream)


def _pickled(path: Path) -> UserError:
    return UserError(
        f"map {path} is a pickle (np.save of a dict), which is not read, because a pickle can "
        "run any code; resave it as np.savez(path, prob=d['high_res'], keys=d['keys'] + 1), "
        "where a key is 0 for background and k for class k"
    )


def _unreadable(path: Path, error: Exception) -> UserError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return UserError(
        f"map {path} is not a readable NumPy file ({reason:.200}); write it with np.savez"
    )
