"""Hostile images and label maps: no bomb is decoded, no pipe blocks, no program is run."""

from __future__ import annotations

import io
import os
import resource
import struct
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image, ImageFile
from video_sets import write_video

from p2seg.data.image_sources import check_sources, read_frames, sources_at
from p2seg.data.images import FORMATS, check_image, read_image
from p2seg.data.labels import read_labels
from p2seg.data.maps import read_map
from p2seg.data.video import Video
from p2seg.errors import UserError
from p2seg.semantic.maps import read_key

SIDE = 30_000
SIGNATURE = b"\x89PNG\r\n\x1a\n"


def chunk(kind: bytes, data: bytes) -> bytes:
    """Returns a chunk of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(*chunks: bytes, size: tuple[int, int] = (8, 6), kind: int = 2) -> bytes:
    """Returns a PNG of colors or palette entries whose pixels are zeros."""
    head = struct.pack(">IIBBBBB", *size, 8, kind, 0, 0, 0)
    pixels = zlib.compress(bytes(6 * (1 + 8 * (3 if kind == 2 else 1))))
    parts = (chunk(b"IHDR", head), *chunks, chunk(b"IDAT", pixels), chunk(b"IEND", b""))
    return SIGNATURE + b"".join(parts)


def saved(kind: str, size: tuple[int, int] = (8, 6), **options: object) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", size).save(stream, kind, **options)
    return stream.getvalue()


def patched(content: bytes, old: bytes, new: bytes) -> bytes:
    """Returns the file with another size in its header."""
    assert content.count(old) >= 1
    return content.replace(old, new, 1)


def webp(side: int) -> bytes:
    canvas = b"\0\0\0\0" + (side - 1).to_bytes(3, "little") * 2
    body = b"WEBPVP8X" + struct.pack("<I", 10) + canvas + saved("WEBP")[12:]
    return b"RIFF" + struct.pack("<I", len(body)) + body


def tiff(entries: dict[int, tuple[int, int]], again: bool = False) -> bytes:
    """Returns a TIFF with one directory, whose successor may be itself."""
    rows = [
        struct.pack("<HHII", tag, kind, 1, value) for tag, (kind, value) in sorted(entries.items())
    ]
    follower = struct.pack("<I", 8 if again else 0)
    return b"II*\0" + struct.pack("<IH", 8, len(rows)) + b"".join(rows) + follower


PLAIN_TIFF = {256: (4, SIDE), 257: (4, SIDE), 258: (3, 8), 259: (3, 1), 262: (3, 1), 277: (3, 1)}
BOMBS: dict[str, bytes] = {
    "PNG": png(size=(SIDE, SIDE)),
    "PNG of one row": png(size=(2**31 - 1, 1)),
    "JPEG": patched(saved("JPEG"), struct.pack(">HH", 6, 8), struct.pack(">HH", SIDE, SIDE)),
    "TIFF": tiff(PLAIN_TIFF | {273: (4, 8), 279: (4, SIDE * SIDE)}),
    "TIFF of 2^32 - 1": tiff(PLAIN_TIFF | {256: (4, 2**32 - 1), 257: (4, 2**32 - 1)}),
    "WebP": webp(SIDE),
    "WebP of 2^24": webp(2**24),
    "BMP": patched(saved("BMP"), struct.pack("<ii", 8, 6), struct.pack("<ii", SIDE, SIDE)),
    "BMP upside down": patched(
        saved("BMP"), struct.pack("<ii", 8, 6), struct.pack("<ii", SIDE, -SIDE)
    ),
    "PPM": b"P6 30000 30000 255\n" + b"x" * 50,
    "PPM of text": b"P3 30000 30000 255\n1 2 3",
    "GIF": b"GIF89a" + struct.pack("<HH", 65535, 65535) + b"\0\0\0;",
}
"""Files of few bytes that declare gigabytes."""

BROKEN: dict[str, bytes] = {
    "nothing": b"",
    "a zero byte": b"\0",
    "a PNG's signature": SIGNATURE,
    "a PNG without pixels": SIGNATURE
    + chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 6, 8, 2, 0, 0, 0)),
    "a PNG of 0 x 0": png(size=(0, 0)),
    "a PNG of depth 3": SIGNATURE + chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 6, 3, 2, 0, 0, 0)),
    "a chunk longer than the file": png()[:33] + struct.pack(">I", 2**31 - 1) + b"IDAT",
    "a chunk of 2^32 - 1": png()[:33] + b"\xff\xff\xff\xffIDAT" + bytes(20),
    "a PNG with a wrong sum": png()[:-20] + b"\0" * 20,
    "half a JPEG": saved("JPEG")[:200],
    "a JPEG's head": b"\xff\xd8\xff\xe0\x00\x10JFIF\x00",
    "a TIFF that is its own next page": tiff({}, again=True),
    "a TIFF without a size": tiff({258: (3, 8)}),
    "a BMP of a huge head": b"BM" + struct.pack("<IIIII", 60, 0, 54, 2**31, 8) + bytes(30),
    "a PPM of letters": b"P6 x y 255\n",
    "a PPM of 10^30": b"P6 " + b"9" * 30 + b" 1 255\n",
    "a PostScript program": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 6\n(x) run\n",
    "a PDF": b"%PDF-1.7\n",
    "a page of HTML": b"<!doctype html><img src=x onerror=alert(1)>",
    "an SVG": b'<svg xmlns="http://www.w3.org/2000/svg" width="30000" height="30000"/>',
    "a pickle": b"\x80\x04cposix\nsystem\n.",
    "a script": b"#!/bin/sh\ntouch sprung\n",
    "an XPM": b'/* XPM */\nstatic char *x[] = {\n"8 6 1 1",\n',
    "an IM file": b"Image type: RGB image\r\nImage size (x*y): 30000*30000\r\n" + bytes(500),
    "a FITS": b"SIMPLE  =                    T" + b" " * 2850,
}
"""Files that are no images or cannot be read."""

ODD: dict[str, bytes] = {
    "a palette of 70,000 colors": png(chunk(b"PLTE", bytes(210_000)), kind=3),
    "a palette of half a color": png(chunk(b"PLTE", bytes(4)), kind=3),
    "no palette": png(kind=3),
    "transparency without end": png(chunk(b"tRNS", bytes(100_000))),
    "a profile that unpacks to 256 MB": png(
        chunk(b"iCCP", b"p\0\0" + zlib.compress(bytes(1 << 28)))
    ),
    "a text that unpacks to 256 MB": png(chunk(b"zTXt", b"t\0\0" + zlib.compress(bytes(1 << 28)))),
    "an international text that unpacks to 256 MB": png(
        chunk(b"iTXt", b"t\0\1\0\0\0" + zlib.compress(bytes(1 << 28)))
    ),
    "texts without end": png(*[chunk(b"tEXt", b"key\0" + bytes(1000))] * 1000),
    "pixels that unpack to 256 MB": SIGNATURE
    + chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 6, 8, 2, 0, 0, 0))
    + chunk(b"IDAT", zlib.compress(bytes(1 << 28)))
    + chunk(b"IEND", b""),
    "EXIF of rubbish": png(chunk(b"eXIf", b"\xff" * 500)),
    "EXIF whose directory is itself": png(
        chunk(b"eXIf", b"II*\0\x08\0\0\0\x01\0\x69\x87\x04\0\x01\0\0\0\x08\0\0\0\0\0\0\0")
    ),
    "EXIF of a huge count": png(
        chunk(b"eXIf", b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\xff\xff\xff\xff\x1a\0\0\0")
    ),
    "EXIF in a JPEG, cut": saved("JPEG")[:2] + b"\xff\xe1\xff\xffExif\0\0II*\0" + saved("JPEG")[2:],
    "an animation of 2^31 frames": png(chunk(b"acTL", struct.pack(">II", 2**31 - 1, 0))),
    "a physical size of nothing": png(chunk(b"pHYs", bytes(9))),
    "unknown chunks": png(chunk(b"abCd", bytes(1000)), chunk(b"ABCD", bytes(10))),
}
"""Images with intact pixels and unusual metadata, which may be rejected or ignored."""

TABLES = {"bombs": BOMBS, "no images": BROKEN, "odd images": ODD}
FAR_BELOW = 300 << 10
"""Limit in kilobytes; an image of 30,000 x 30,000 has 2.7 GB."""


@pytest.fixture
def cheap():
    """Fails a test that takes much time or memory."""
    began = time.process_time()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < FAR_BELOW
    assert time.process_time() - began < 5


def refusals(path: Path) -> list[str]:
    """Returns the message of each reader for a file that is neither image nor map."""
    said = []
    readers: list[Callable[[Path], object]] = [read_image, read_labels, check_image]
    for read in readers:
        try:
            read(path)
        except UserError as error:
            said.append(str(error))
    assert read_key(path) is None
    assert all(str(path) in each for each in said)
    return said


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_rejected_before_decoding(cheap, tmp_path, name):
    path = tmp_path / "a.png"
    path.write_bytes(BOMBS[name])
    assert len(refusals(path)) == 3


@pytest.mark.parametrize("name", BROKEN)
def test_other_files_are_rejected(cheap, tmp_path, name, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "a.png"
    path.write_bytes(BROKEN[name])
    assert len(refusals(path)) >= 2
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ODD)
def test_unusual_images_are_rejected_or_read_correctly(cheap, tmp_path, name):
    path = tmp_path / "a.png"
    path.write_bytes(ODD[name])
    refusals(path)
    try:
        image = read_image(path, (6, 8))
    except UserError:
        return
    assert (image == 0).all()


def test_a_map_of_another_size_is_not_decoded(cheap, tmp_path, monkeypatch):
    """Its pixels need 160 MB, but its header has another size."""
    monkeypatch.setattr(ImageFile.ImageFile, "load", None)
    head = struct.pack(">IIBBBBB", 13_000, 12_000, 8, 0, 0, 0, 0)
    pixels = zlib.compress(bytes(12_000 * 13_001), 1)
    path = tmp_path / "a.png"
    path.write_bytes(
        SIGNATURE + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )
    for read in (lambda: read_map(path, (6, 8), 2), lambda: read_image(path, (6, 8))):
        with pytest.raises(UserError, match="13000x12000"):
            read()


def test_many_pages_are_one_image(tmp_path):
    pages = [Image.new("RGB", (8, 6), (k, 0, 0)) for k in range(200)]
    for name in ("a.tif", "a.gif", "a.webp", "a.png"):
        pages[0].save(tmp_path / name, save_all=True, append_images=pages[1:])
        assert (read_image(tmp_path / name, (6, 8)) == 0).all()


SPECIAL: dict[str, Callable[[Path], object]] = {
    "a pipe": os.mkfifo,
    "a folder": os.mkdir,
    "endless zeros": lambda path: path.symlink_to("/dev/zero"),
    "a terminal": lambda path: path.symlink_to("/dev/tty"),
    "a link to itself": lambda path: path.symlink_to(path),
    "a link to nothing": lambda path: path.symlink_to(path.with_name("nothing")),
}
TABLES["special files"] = SPECIAL


@pytest.mark.parametrize("name", SPECIAL)
@pytest.mark.timeout(20)
def test_special_files_do_not_block(tmp_path, name):
    for file in ("a.png", "a.mp4"):
        SPECIAL[name](tmp_path / file)
    assert len(refusals(tmp_path / "a.png")) == 3
    with pytest.raises(UserError, match=r"no video at|is not a video"):
        Video(tmp_path / "a.mp4")
    try:
        found = sources_at(tmp_path)
    except UserError:
        return
    said = list(read_frames(found, 1, "skip"))
    assert said
    assert all(isinstance(each, str) for each in said)
    with pytest.raises(UserError):
        check_sources(found)


PLAYLISTS: dict[str, bytes] = {
    "of HLS": b"#EXTM3U\n#EXTINF:1,\n{file}\n#EXT-X-ENDLIST\n",
    "of the net": b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n",
    "of FFmpeg": b"ffconcat version 1.0\nfile '{file}'\n",
    "of DASH": b'<?xml version="1.0"?><MPD><BaseURL>{file}</BaseURL></MPD>',
    "of pictures": b"\x89PNG\r\n\x1a\n",
    "of text": b"hello\n" * 100,
}
TABLES["playlists named .mp4"] = PLAYLISTS


@pytest.mark.parametrize("name", PLAYLISTS)
def test_a_playlist_is_rejected(tmp_path, name):
    """FFmpeg would open the files and addresses in it."""
    write_video(tmp_path / "real.avi", 3)
    path = tmp_path / "a.mp4"
    path.write_bytes(PLAYLISTS[name].replace(b"{file}", b"real.avi"))
    with pytest.raises(UserError, match="is not a video"):
        Video(path)
    assert Video(tmp_path / "real.avi").count == 3


def test_no_format_starts_a_program():
    """Pillow would start Ghostscript for EPS files."""
    assert not set(FORMATS) & {"EPS", "WMF", "HDF5", "GRIB", "BUFR", "FPX", "MIC", "PDF"}
