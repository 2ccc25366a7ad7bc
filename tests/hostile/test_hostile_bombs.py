"""Small files that would become large: their declared size is checked before unpacking."""

from __future__ import annotations

import io
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from devtools.fuzzing.child import run_input
from devtools.fuzzing.values import CLASSES, SIZE
from p2seg.errors import UserError
from p2seg.semantic.arrays import read_array
from p2seg.semantic.class_map import Legend

HERE = Path(__file__).resolve().parent
MOST = 60
"""Memory limit of a reader in MB; unpacked files have `LARGE` MB, the first one 381."""
LARGE = 120
BLOCK = bytes(1 << 20)
STORED, DEFLATED = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED
BZIP2, LZMA = zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA


def head(shape: tuple[int, ...], dtype: str, version: tuple[int, int] = (1, 0)) -> bytes:
    """Returns the header of an array with a shape."""
    stream = io.BytesIO()
    declared = {"shape": shape, "fortran_order": False, "descr": np.dtype(dtype).str}
    writers = {(1, 0): np.lib.format.write_array_header_1_0}
    writers[2, 0] = np.lib.format.write_array_header_2_0
    writers[version](stream, declared)
    return stream.getvalue()


def packed(parts: dict[str, bytes], megabytes: int, how: int = DEFLATED) -> bytes:
    """Returns a zip archive whose last part ends with some megabytes of zeros."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", how) as archive:
        for name, content in parts.items():
            with archive.open(name, "w") as part:
                part.write(content)
                for _ in range(megabytes if name == list(parts)[-1] else 0):
                    part.write(BLOCK)
    return stream.getvalue()


def told_small(archive: bytes, size: int) -> bytes:
    """Returns an archive whose directory has a wrong size for every part."""
    changed = bytearray(archive)
    at = archive.find(b"PK\x01\x02")
    while at >= 0:
        changed[at + 24 : at + 28] = size.to_bytes(4, "little")
        at = archive.find(b"PK\x01\x02", at + 1)
    return bytes(changed)


LABELS, FLOATS = head((9994, 9994), "<i4"), head((1, 9994, 9994), "<f4")
SMALL = head(SIZE, "<i2")
KEYS = head((25_000_000,), "<i8")
ARRAYS: dict[str, Callable[[], bytes]] = {
    "labels of another size": lambda: packed({"map.npy": LABELS}, 381),
    "probabilities of another size": lambda: packed({"prob.npy": FLOATS}, LARGE),
    "many channels": lambda: packed({"prob.npy": head((4_000_000, *SIZE), "<f2")}, LARGE),
    "many keys": lambda: packed({"prob.npy": head((3, *SIZE), "<f4"), "keys.npy": KEYS}, LARGE),
    "as many keys as channels": lambda: packed(
        {"prob.npy": head((25_000_000, 1, 1), "<f2"), "keys.npy": KEYS}, LARGE
    ),
    "letters": lambda: packed({"map.npy": head(SIZE, "<U2000000")}, LARGE),
    "numbers of objects": lambda: packed({"map.npy": head(SIZE, "V8000000")}, LARGE),
    "more than declared": lambda: packed({"map.npy": SMALL}, LARGE),
    "more than the directory says": lambda: told_small(packed({"map.npy": SMALL}, LARGE), 176),
    "more than declared, bzip2": lambda: packed({"map.npy": SMALL}, LARGE, BZIP2),
    "more than declared, lzma": lambda: packed({"map.npy": SMALL}, 80, LZMA),
    "a long header": lambda: packed({"map.npy": b"\x93NUMPY\x02\x00\xff\xff\xff\x1f"}, LARGE),
    "a second array": lambda: packed({"a.npy": SMALL + bytes(96), "b.npy": SMALL}, LARGE),
    "a part that is none": lambda: packed({"a.npy": SMALL + bytes(96), "b.txt": b""}, LARGE),
    "one name twice": lambda: _twice(),
    "a negative size": lambda: packed({"map.npy": _negative()}, LARGE),
    "not packed, cut short": lambda: LABELS + bytes(1000),
    "not packed, a long header": lambda: b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + bytes(1000),
    "not packed, too long": lambda: SMALL + bytes(97),
}
"""NumPy files for an image of `SIZE` that are rejected before unpacking."""


def _twice() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", DEFLATED) as archive:
        for _ in range(2):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                archive.writestr("map.npy", SMALL + bytes(96))
    return stream.getvalue()


def _negative() -> bytes:
    return SMALL.replace(b"(6, 8)", b"(-1,8)")


def deflated(content: bytes, how: int = DEFLATED, zeros: int = LARGE) -> bytes:
    """Returns a PyTorch file packed again with an additional part of zeros."""
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(stream, "w", how) as new:
        for each in old.infolist():
            new.writestr(each.filename, old.read(each))
        with new.open(old.infolist()[0].filename.split("/")[0] + "/data/99", "w") as part:
            for _ in range(zeros):
                part.write(BLOCK)
    return stream.getvalue()


def saved(content: object) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream)
    return stream.getvalue()


def zeros() -> bytes:
    """Returns a checkpoint whose tensor of zeros is compressed to 1/1000 of its size."""
    tensor = torch.zeros(LARGE << 18)
    return deflated(saved({"format": 1, "kind": "segmentor", "model": {"a": tensor}}), zeros=0)


def shared() -> bytes:
    """Returns an archive whose directory lists one part many times."""
    archive = packed({"archive/data.pkl": bytes(100_000)}, 0, STORED)
    start, end = archive.find(b"PK\x01\x02"), archive.find(b"PK\x05\x06")
    entries = b"".join(archive[start:end] for k in range(5000))
    tail = struct.pack("<4HIIH", 0, 0, 5000, 5000, len(entries), start, 0)
    return archive[:start] + entries + b"PK\x05\x06" + tail


CHECKPOINTS: dict[str, Callable[[], bytes]] = {
    "zeros, packed": zeros,
    "a part of zeros": lambda: deflated(saved({"format": 1, "kind": "network"})),
    "a part of zeros, bzip2": lambda: deflated(saved({"format": 1, "kind": "network"}), BZIP2),
    "one part many times": shared,
}
TABLES = {
    "NumPy files that would be large": ARRAYS,
    "files of PyTorch that would be large": CHECKPOINTS,
}


@pytest.mark.parametrize("name", ARRAYS)
def test_maps_are_compared_before_they_are_unpacked(tmp_path, name):
    content = ARRAYS[name]()
    assert len(content) < 450_000
    trouble, said = run_input("array", content, tmp_path / "map", MOST)
    assert not trouble, said
    assert said.startswith("map "), said
    assert "\n" not in said
    path = tmp_path / "map.npz"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"map\.npz"):
        read_array(path, SIZE, Legend.plain(CLASSES))


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_weights_are_compared_before_they_are_unpacked(tmp_path, name):
    content = CHECKPOINTS[name]()
    for target in ("checkpoint", "weights", "sam"):
        trouble, said = run_input(target, content, tmp_path / "file", MOST)
        assert not trouble, said
        assert "compressed, which PyTorch does not write" in said or "larger than the file" in said
        assert "\n" not in said


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("packing", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("dtype", ["<f2", ">f4", "<f8"])
def test_good_maps_are_read_as_numpy_does(tmp_path, order, packing, dtype):
    values = np.asarray(np.random.default_rng(0).random((2, *SIZE)), dtype, order=order)
    packing(tmp_path / "a.npz", prob=values, keys=np.array([0, 2], ">i2"))
    stored = read_array(tmp_path / "a.npz", SIZE, Legend.plain(CLASSES))
    np.testing.assert_array_equal(stored.values, values)
    assert stored.keys == [0, 2]
    with (tmp_path / "b.npy").open("wb") as stream:
        np.lib.format.write_array(stream, values, version=(2, 0))
    again = read_array(tmp_path / "b.npy", SIZE, Legend.plain(("red",)))
    np.testing.assert_array_equal(again.values, values)
