"""Checks every image file: header and pixels, in threads."""

from __future__ import annotations

import time
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath

from p2seg.apps.validate.findings import Findings
from p2seg.data.image_sources import sources_at, unsupported_images
from p2seg.data.images import EXIF_ORIENTATION, is_deep, opened_image, pages_of
from p2seg.data.maps import map_path
from p2seg.data.preflight import AT_ONCE, READERS
from p2seg.data.records import ImageRecord
from p2seg.errors import UserError
from p2seg.runtime.files import sha256

TINY = 64
"""An image with a shorter long side in pixels is tiny."""
HUGE = 12e6
"""An image with more pixels is huge."""
GRAY = ("1", "L", "LA")


@dataclass(frozen=True)
class ImageFile:
    """The properties of an image file.

    Attributes:
        bytes: size of the file; 0 if it does not exist.
        size: (height, width) as stored.
        turn: EXIF orientation; 1 is upright, 5 to 8 swap height and width.
        mode: Pillow's mode.
        deep: whether it has more than 8 bits per value.
        pages: number of pages; only the first is read.
        error: reason why the file is unreadable, or None.
        seconds: duration of reading.
    """

    bytes: int = 0
    size: tuple[int, int] = (0, 0)
    turn: int = 1
    mode: str = ""
    deep: bool = False
    pages: int = 1
    error: str | None = None
    seconds: float = 0.0

    @property
    def upright(self) -> tuple[int, int]:
        """(height, width) after the EXIF rotation."""
        return self.size[::-1] if self.turn >= 5 else self.size


Progress = Callable[[Iterable[ImageFile]], Iterable[ImageFile]]


def read_file(path: Path) -> ImageFile:
    """Reads a whole image file to check whether it can be read."""
    begin = time.perf_counter()
    if not path.is_file():
        return ImageFile()
    count = max(1, path.stat().st_size)
    size, turn, mode = (0, 0), 1, ""
    try:
        with opened_image(path) as image:
            size, mode, turn = (image.height, image.width), image.mode, _turn(image)
            deep, pages = is_deep(image), pages_of(image)
            # At one eighth of the size, a JPEG is still read completely, but three times as fast.
            image.draft(image.mode, (image.width // 8, image.height // 8))
            image.load()
    except Exception as error:  # Pillow's decoders raise many types of errors
        reason = " ".join(str(error).split()) or type(error).__name__
        return ImageFile(count, size, turn, mode, error=reason.replace(str(path), path.name))
    return ImageFile(count, size, turn, mode, deep, pages, seconds=time.perf_counter() - begin)


def _turn(image: object) -> int:
    try:
        return int(image.getexif().get(EXIF_ORIENTATION, 1))  # type: ignore[attr-defined]
    except Exception:  # a broken EXIF block means no rotation
        return 1


def check_images(
    folder: Path,
    records: Sequence[ImageRecord],
    findings: Findings,
    progress: Progress = iter,
    known: Callable[[Path], bool] = lambda _: False,
) -> list[ImageFile]:
    """Checks all images of a folder.

    Args:
        folder: folder of the images.
        records: the listed images.
        findings: receives the problems.
        progress: wraps the iteration over the images.
        known: whether an unlisted file is a validation image.

    Returns:
        The properties of each listed image.
    """
    names = _names(folder)
    files = list(progress(_read_files(folder, records)))
    near = defaultdict(list)
    for name in names:
        near[_key(name)].append(name)
    for record, each in zip(records, files, strict=True):
        _check_one(record, each, near, findings)
    _check_copies(folder, records, files, findings)
    listed = {unicodedata.normalize("NFC", str(PurePosixPath(r.file_name))) for r in records}
    owners: dict[str, str] = {}
    for record in records:
        owner = owners.setdefault(str(map_path(Path(), record.file_name)), record.file_name)
        if owner != record.file_name:
            findings.add("image.same_map", f"{owner} and {record.file_name}")
    for ending, number in sorted(unsupported_images(folder).items()):
        findings.add("image.unread", f"{number} {ending}", count=number)
    for name in names:
        if unicodedata.normalize("NFC", name) not in listed and not known(folder / name):
            findings.add("image.unlisted", name)
    return files


def _names(folder: Path) -> list[str]:
    try:
        return [source.name for source in sources_at(folder)]
    except UserError:  # no image, or a name that no points file can hold
        return []


def _read_files(folder: Path, records: Iterable[ImageRecord]) -> Iterator[ImageFile]:
    waiting = (folder / each.file_name for each in records)
    with ThreadPoolExecutor(READERS) as pool:
        while batch := list(islice(waiting, AT_ONCE)):
            yield from pool.map(read_file, batch)


def _key(name: str) -> str:
    """Returns the name without folder, case and Unicode form, to find misspelled names."""
    return unicodedata.normalize("NFC", PurePosixPath(name).name).casefold()


def _check_one(
    record: ImageRecord, file: ImageFile, near: dict[str, list[str]], findings: Findings
) -> None:
    name, size = record.file_name, (record.height, record.width)
    if not file.bytes:
        other = near.get(_key(name))
        findings.add("image.missing", f"{name}; {other[0]} exists" if other else name)
        return
    if file.error is not None:
        findings.add("image.broken", f"{name}: {file.error}")
        return
    if size not in (file.size, file.upright):
        findings.add("image.size", _other_size(name, file, size), name)
    elif file.turn >= 5 and file.size != file.upright:
        findings.add("image.turned" if size == file.upright else "image.not_turned", name, name)
    height, width = file.size
    if max(file.size) < TINY:
        findings.add("image.tiny", f"{name}: {width}x{height}", name)
    if height * width > HUGE:
        findings.add("image.huge", f"{name}: {width}x{height}")
    if file.mode in GRAY:
        findings.add("image.gray", name)
    if file.deep:
        findings.add("image.deep", name, name)
    if file.pages > 1:
        findings.add("image.pages", f"{name}: {file.pages}")


def _other_size(name: str, file: ImageFile, size: tuple[int, int]) -> str:
    """Describes the size difference and its probable cause."""
    (height, width), (own_height, own_width) = size, file.size
    text = f"{name} is {own_width}x{own_height}, annotated as {width}x{height}"
    if size == file.size[::-1]:
        return f"{text}: it was rotated and has no EXIF rotation tag"
    factor = own_width / width
    if abs(own_height - factor * height) <= 1:
        return f"{text}: it was scaled by {factor:.3g}"
    return text


def _check_copies(
    folder: Path, records: Sequence[ImageRecord], files: Sequence[ImageFile], findings: Findings
) -> None:
    for group in same_bytes(
        [(folder / r.file_name, s) for r, s in zip(records, files, strict=True)]
    ):
        names = [records[k].file_name for k in group]
        findings.add("image.same_bytes", " = ".join(names[:3]), names[0], count=len(group) - 1)


def same_bytes(files: Sequence[tuple[Path, ImageFile]]) -> list[list[int]]:
    """Finds identical files; only files of equal length are read.

    Args:
        files: paths and their properties.

    Returns:
        Groups of two or more indices.
    """
    sizes: dict[int, list[int]] = defaultdict(list)
    for place, (_, file) in enumerate(files):
        if file.bytes and file.error is None:
            sizes[file.bytes].append(place)
    groups: dict[str, list[int]] = defaultdict(list)
    for places in sizes.values():
        for place in places if len(places) > 1 else ():
            groups[sha256(files[place][0])].append(place)
    return [group for group in groups.values() if len(group) > 1]
