"""Official archives: fetched once, checked, unpacked below one folder."""

from __future__ import annotations

import gzip
import hashlib
import http.client
import os
import tarfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from p2seg.errors import UserError
from p2seg.runtime.files import atomic_path, temporary_folder

BLOCK = 1 << 20
MOST_MEMBERS = 10**6
"""Of an archive; VOC 2012 has 40,000."""
MOST_BYTES = 64 << 30
"""Of all its members by what it declares; VOC 2012 has 2 GB."""

_FAILED = (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError)


@dataclass(frozen=True)
class Archive:
    """A published archive.

    Attributes:
        url: where it is published.
        md5: its checksum, in hexadecimal, as published.
    """

    url: str
    md5: str

    @property
    def name(self) -> str:
        """Its file name."""
        return self.url.rsplit("/", 1)[-1]


VOC2012 = Archive(
    "http://host.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar",
    "6cd6e144f989b92b3379bac3b3de84fd",
)
VOC2007 = Archive(
    "http://host.robots.ox.ac.uk/pascal/VOC/voc2007/VOCtrainval_06-Nov-2007.tar",
    "c52e279531787c972589f7e41ab4ae64",
)
SBD = Archive(
    "https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/semantic_contours/"
    "benchmark.tgz",
    "82b4d87ceb2ed10f6038a1cba92111cb",
)

Advance = Callable[[int, int | None], None]
"""Told after each block: bytes so far, bytes in all where known."""


def fetch(archive: Archive, folder: Path, advance: Advance = lambda *_: None) -> Path:
    """Downloads an archive into `folder`, unless it is there already, and verifies it.

    Args:
        archive: what to fetch.
        folder: where to keep it.
        advance: told how far it is.

    Returns:
        The file.

    Raises:
        UserError: the download failed, or its checksum is another than published.
    """
    path = folder / archive.name
    if path.is_file() and md5(path) == archive.md5:
        return path
    by_hand = f"download it by hand to {path} and run again"
    try:
        with atomic_path(path) as temporary:
            _download(archive.url, temporary, advance)
            found = md5(temporary)
            if found != archive.md5:
                raise UserError(
                    f"what came from {archive.url} has the MD5 {found}, published is "
                    f"{archive.md5}; run again, or {by_hand}"
                )
    except _FAILED as error:
        reason = getattr(error, "reason", None) or error
        raise UserError(f"the download of {archive.url} failed ({reason}); {by_hand}") from error
    return path


def unpack(path: Path, folder: Path) -> None:
    """Unpacks a tar archive below `folder`, refusing members that would leave it.

    Only files and folders are unpacked: no set of images needs links, devices or pipes.
    Nothing of it is there before all of it is unpacked: what looks whole is whole.

    Raises:
        UserError: the archive is broken, leaves the folder or declares more than `MOST_MEMBERS` or
            `MOST_BYTES`; or this Python cannot check it.
    """
    if not hasattr(tarfile, "data_filter"):
        raise UserError("this Python cannot unpack safely; update it to 3.10.12, 3.11.4 or newer")
    try:
        with temporary_folder(folder / path.name) as temporary:
            with tarfile.open(path) as archive:
                archive.extractall(temporary, _wanted(archive, temporary), filter="data")
            if hasattr(os, "sync"):
                os.sync()  # once, not for each of some ten thousand files
            _move(temporary, folder)
    except (UserError, OSError) as error:
        if isinstance(error, (UserError, gzip.BadGzipFile)) or not error.strerror:
            raise _broken(path, error) from error
        raise  # of the disk, not of the archive
    except Exception as error:  # whatever tarfile and its decompressors come to
        raise _broken(path, error) from error


def _wanted(archive: tarfile.TarFile, folder: Path) -> Iterator[tarfile.TarInfo]:
    """The files and folders of an archive, after a look at what it declares."""
    declared = 0
    for count, member in enumerate(archive, start=1):
        declared += max(0, member.size)
        if count > MOST_MEMBERS or declared > MOST_BYTES:
            raise UserError(f"it declares {count} files of {declared} bytes or more, too many")
        if member.isfile() or member.isdir():
            yield member
        else:
            tarfile.data_filter(member, str(folder))  # refuses what leads out, and devices


def _broken(path: Path, error: Exception) -> UserError:
    reason = str(error) or type(error).__name__
    return UserError(f"{path} cannot be unpacked ({reason}); remove it and run again")


def _move(source: Path, target: Path) -> None:
    """Moves what is in a folder to another one, which may have some of its folders already."""
    for each in source.iterdir():
        goal = target / each.name
        if each.is_dir() and not each.is_symlink() and goal.is_dir():
            _move(each, goal)
        else:
            each.replace(goal)


def md5(path: Path) -> str:
    """The MD5 of a file's bytes, in hexadecimal; these archives were published with it."""
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as stream:
        while block := stream.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _download(url: str, path: Path, advance: Advance) -> None:
    with urllib.request.urlopen(url, timeout=60) as answer, path.open("wb") as stream:
        length = answer.headers.get("Content-Length")
        total = int(length) if length else None
        done = 0
        while block := answer.read(BLOCK):
            stream.write(block)
            done += len(block)
            advance(done, total)
        if total is not None and done < total:
            raise http.client.IncompleteRead(b"", total - done)
