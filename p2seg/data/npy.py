"""NumPy's files of other programs: what they declare is known before anything is unpacked.

`numpy.load` unpacks an array whole, so that a file of 400 kB can take 400 MB, and a packed array
may be longer than it says. Nothing is unpickled: a pickle runs whatever code its writer put into
it.
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
"""Bytes of an array's header; NumPy refuses longer ones, but reads them first."""

MOST_ARRAYS = 1000
PACKED_BY_NUMPY = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""Of what is packed in other ways, Python unpacks as much as there is."""


@dataclass(frozen=True)
class Declared:
    """An array of a file, not read yet.

    Attributes:
        shape: by its header.
        dtype: by its header, never of objects.
        by_columns: the first index changes fastest.
        path: of the file, for errors.
        stream: stands behind the header.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    by_columns: bool
    path: Path
    stream: IO[bytes]

    def read(self) -> NDArray[Any]:
        """The array; no byte more than it declares is unpacked.

        Raises:
            UserError: it has another length than it declares, or is damaged.
        """
        size = prod(self.shape) * self.dtype.itemsize
        try:
            content = self.stream.read(size)
            if len(content) < size:
                raise ValueError("it is cut short")
            if self.stream.read(1):
                raise ValueError("it is longer than it declares")
        except Exception as error:  # whatever zipfile and zlib come to
            raise _unreadable(self.path, error) from error
        array = np.frombuffer(content, self.dtype)
        return array.reshape(self.shape, order="F" if self.by_columns else "C")


@contextmanager
def opened_arrays(path: Path) -> Iterator[dict[str, Declared]]:
    """The arrays of an `.npy`, whose name is "", or of an `.npz`.

    Args:
        path: the file.

    Raises:
        UserError: it is neither, is pickled, or holds other things than arrays.
    """
    with ExitStack() as stack:
        try:
            arrays = _declared(path, stack)
        except UserError:
            raise
        except Exception as error:  # at a broken file: whatever a parser below came to
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
        raise ValueError("it begins as no such file does")
    archive = stack.enter_context(zipfile.ZipFile(stream))
    members = archive.infolist()
    names = [each.filename.removesuffix(".npy") for each in members]
    if len(members) > MOST_ARRAYS or len(set(names)) < len(names):
        raise ValueError(f"it has {len(members)} parts, too many or of one name")
    arrays = {}
    for name, member in zip(names, members, strict=True):
        if member.compress_type not in PACKED_BY_NUMPY:
            raise ValueError("it is packed in a way that NumPy does not write")
        part = stack.enter_context(archive.open(member))
        if not member.filename.endswith(".npy"):
            raise UserError(f"map {path} holds files that are no arrays; write it with np.savez")
        arrays[name] = _header(part, path)
    return arrays


def _header(stream: IO[bytes], path: Path) -> Declared:
    start = stream.read(10)
    if not start.startswith(npy.MAGIC_PREFIX):
        raise ValueError("a part of it begins as no array does")
    size = int.from_bytes(start[8:10], "little")
    if start[6:8] == b"\x02\x00":  # of a header that is longer than two bytes can say
        more = stream.read(2)
        start, size = start + more, size + (int.from_bytes(more, "little") << 16)
    elif start[6:8] != b"\x01\x00":
        raise ValueError("its arrays are of a newer format")
    if size > MOST_HEADER:
        raise ValueError(f"it has a header of {size} bytes")
    whole = io.BytesIO(start + stream.read(size))
    reader = {1: npy.read_array_header_1_0, 2: npy.read_array_header_2_0}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a header of Python 2 is read all the same
        shape, by_columns, dtype = reader[npy.read_magic(whole)[0]](whole)
    if dtype.hasobject:
        raise _pickled(path)
    if min(shape, default=0) < 0:
        raise ValueError("it has a negative size")
    return Declared(shape, dtype, by_columns, path, stream)


def _pickled(path: Path) -> UserError:
    return UserError(
        f"map {path} is pickled (np.save of a dict), which is not read, for a pickle may "
        "run any code; resave it as np.savez(path, prob=d['high_res'], keys=d['keys'] + 1):"
        " keys are 0 for background and k for class k"
    )


def _unreadable(path: Path, error: Exception) -> UserError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return UserError(f"map {path} is no readable NumPy file ({reason:.200}); write it anew")
