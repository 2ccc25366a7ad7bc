"""Downloads, verifies and unpacks the official archives of data sets."""

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
"""Most members of an archive; VOC 2012 has 40,000."""
MOST_BYTES = 64 << 30
"""Largest declared size of an archive after unpacking; VOC 2012 has 2 GB."""

_FAILED = (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError)


@dataclass(frozen=True)
class Archive:
    """A published archive.

    Attributes:
        url: its address.
        md5: its published checksum, hexadecimal.
    """

    url: str
    md5: str

    @property
    def name(self) -> str:
        """File name of the archive."""
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
"""Called after each block with the bytes so far and the total, which is None if unknown."""


def fetch(archive: Archive, folder: Path, advance: Advance = lambda *_: None) -> Path:
    """Downloads and verifies an archive, unless the folder already contains it.

    Args:
        archive: the archive.
        folder: the folder for the file.
        advance: called after each block.

    Returns:
        The path of the file.

    Raises:
        UserError: the download failed, or the checksum differs from the published one.
    """
    path = folder / archive.name
    if path.is_file() and md5(path) == archive.md5:
        return path
    by_hand = f"download it by hand to {path} and run again"
    try:
        with atomic_path(path) as temporary:
            _download(archive.url, temporary, advance)
            checksum = md5(temporary)
            if checksum != archive.md5:
                raise UserError(
                    f"the download of {archive.url} has the MD5 {checksum}, but the published MD5 "
                    f"is {archive.md5}; run again, or {by_hand}"
                )
    except _FAILED as error:
        reason = getattr(error, "reason", None) or error
        raise UserError(f"the download of {archive.url} failed ({reason}); {by_hand}") from error
    return path


def unpack(path: Path, folder: Path) -> None:
    """Unpacks a tar archive into a folder.

    Only files and folders are unpacked; links are skipped. Files are moved into the folder after
    all of them are unpacked, so that an interrupted run leaves no incomplete data set.

    Raises:
        UserError: the archive is damaged, has a member outside the folder or a device, or declares
            more than `MOST_MEMBERS` or `MOST_BYTES`; or this Python cannot check members.
    """
    if not hasattr(tarfile, "data_filter"):
        raise UserError("this Python cannot unpack safely; update it to 3.10.12, 3.11.4 or newer")
    try:
        with temporary_folder(folder / path.name) as temporary:
            with tarfile.open(path) as archive:
                archive.extractall(temporary, _files_in(archive, temporary), filter="data")
            if hasattr(os, "sync"):
                os.sync()  # once, because fsync of each of ten thousand files is slow
            _move(temporary, folder)
    except (UserError, OSError) as error:
        if isinstance(error, (UserError, gzip.BadGzipFile)) or not error.strerror:
            raise _broken(path, error) from error
        raise  # an error of the disk, not of the archive
    except Exception as error:  # tarfile and its decompressors raise errors of many types
        raise _broken(path, error) from error


def _files_in(archive: tarfile.TarFile, folder: Path) -> Iterator[tarfile.TarInfo]:
    """The files and folders of an archive; checks their declared number and size."""
    size = 0
    for count, member in enumerate(archive, start=1):
        size += max(0, member.size)
        if count > MOST_MEMBERS or size > MOST_BYTES:
            raise UserError(
                f"it declares {count} or more files of {size} bytes; at most {MOST_MEMBERS} files "
                f"and {MOST_BYTES} bytes are unpacked"
            )
        if member.isfile() or member.isdir():
            yield member
        else:
            tarfile.data_filter(member, str(folder))  # rejects devices and links out of the folder


def _broken(path: Path, error: Exception) -> UserError:
    reason = str(error) or type(error).__name__
    return UserError(f"{path} cannot be unpacked ({reason}); remove it and run again")


def _move(source: Path, target: Path) -> None:
    """Moves the contents of a folder into another folder and merges subfolders."""
    for each in source.iterdir():
        destination = target / each.name
        if each.is_dir() and not each.is_symlink() and destination.is_dir():
            _move(each, destination)
        else:
            each.replace(destination)


def md5(path: Path) -> str:
    """The MD5 of a file, hexadecimal; the data sets publish no other checksum."""
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as stream:
        while block := stream.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _download(url: str, path: Path, advance: Advance) -> None:
    with urllib.request.urlopen(url, timeout=60) as response, path.open("wb") as stream:
        length = response.headers.get("Content-Length")
        total = int(length) if length else None
        done = 0
        while block := response.read(BLOCK):
            stream.write(block)
            done += len(block)
            advance(done, total)
        if total is not None and done < total:
            raise http.client.IncompleteRead(b"", total - done)
