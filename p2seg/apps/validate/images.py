"""A look at every image file: head and pixels, in threads, since Pillow decodes beside Python."""

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
"""Pixels of the long side."""
HUGE = 12e6
"""Pixels."""
GRAY = ("1", "L", "LA")


@dataclass(frozen=True)
class Seen:
    """What an image file is.

    Attributes:
        bytes: of the file; 0 where there is none.
        size: (height, width) as stored.
        turn: EXIF's mark, 1 upright, 5 to 8 lying down.
        mode: Pillow's.
        deep: it has more than 8 bits per value.
        pages: of which the first is read.
        error: why it cannot be read.
        seconds: that reading took.
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
        """(height, width) when turned by EXIF's mark."""
        return self.size[::-1] if self.turn >= 5 else self.size


Progress = Callable[[Iterable[Seen]], Iterable[Seen]]


def look(path: Path) -> Seen:
    """Reads an image file, all of it, to see whether it can be read."""
    begin = time.perf_counter()
    if not path.is_file():
        return Seen()
    count = max(1, path.stat().st_size)
    size, turn, mode = (0, 0), 1, ""
    try:
        with opened_image(path) as image:
            size, mode, turn = (image.height, image.width), image.mode, _turn(image)
            deep, pages = is_deep(image), pages_of(image)
            # an eighth of the sides: a JPEG is read to its end all the same, three times as fast
            image.draft(image.mode, (image.width // 8, image.height // 8))
            image.load()
    except Exception as error:  # Pillow's decoders let through whatever they come to
        reason = " ".join(str(error).split()) or type(error).__name__
        return Seen(count, size, turn, mode, error=reason.replace(str(path), path.name))
    return Seen(count, size, turn, mode, deep, pages, seconds=time.perf_counter() - begin)


def _turn(image: object) -> int:
    try:
        return int(image.getexif().get(EXIF_ORIENTATION, 1))  # type: ignore[attr-defined]
    except Exception:  # a broken EXIF block turns nothing
        return 1


def check_images(
    folder: Path,
    records: Sequence[ImageRecord],
    findings: Findings,
    progress: Progress = iter,
    known: Callable[[Path], bool] = lambda _: False,
) -> list[Seen]:
    """Looks at all images of a folder.

    Args:
        folder: of the images.
        records: those that are listed.
        findings: are told what is wrong.
        progress: sees the looks go by.
        known: whether a file that is not listed is of validation.

    Returns:
        One for each record.
    """
    there = _names(folder)
    seen = list(progress(_looks(folder, records)))
    near = defaultdict(list)
    for name in there:
        near[_key(name)].append(name)
    for record, each in zip(records, seen, strict=True):
        _check_one(record, each, near, findings)
    _check_copies(folder, records, seen, findings)
    listed = {unicodedata.normalize("NFC", str(PurePosixPath(r.file_name))) for r in records}
    owners: dict[str, str] = {}
    for record in records:
        owner = owners.setdefault(str(map_path(Path(), record.file_name)), record.file_name)
        if owner != record.file_name:
            findings.add("image.same_map", f"{owner} and {record.file_name}")
    for ending, number in sorted(unsupported_images(folder).items()):
        findings.add("image.unread", f"{number} {ending}", count=number)
    for name in there:
        if unicodedata.normalize("NFC", name) not in listed and not known(folder / name):
            findings.add("image.unlisted", name)
    return seen


def _names(folder: Path) -> list[str]:
    """The images below a folder."""
    try:
        return [source.name for source in sources_at(folder)]
    except UserError:  # none, or one whose name no file can hold
        return []


def _looks(folder: Path, records: Iterable[ImageRecord]) -> Iterator[Seen]:
    waiting = (folder / each.file_name for each in records)
    with ThreadPoolExecutor(READERS) as pool:
        while some := list(islice(waiting, AT_ONCE)):
            yield from pool.map(look, some)


def _key(name: str) -> str:
    """What names share that a person would take for one."""
    return unicodedata.normalize("NFC", PurePosixPath(name).name).casefold()


def _check_one(
    record: ImageRecord, seen: Seen, near: dict[str, list[str]], findings: Findings
) -> None:
    name, size = record.file_name, (record.height, record.width)
    if not seen.bytes:
        other = near.get(_key(name))
        findings.add("image.missing", f"{name}; there is {other[0]}" if other else name)
        return
    if seen.error is not None:
        findings.add("image.broken", f"{name}: {seen.error}")
        return
    if size not in (seen.size, seen.upright):
        findings.add("image.size", _other_size(name, seen, size), name)
    elif seen.turn >= 5 and seen.size != seen.upright:
        findings.add("image.turned" if size == seen.upright else "image.not_turned", name, name)
    height, width = seen.size
    if max(seen.size) < TINY:
        findings.add("image.tiny", f"{name}: {width}x{height}", name)
    if height * width > HUGE:
        findings.add("image.huge", f"{name}: {width}x{height}")
    if seen.mode in GRAY:
        findings.add("image.gray", name)
    if seen.deep:
        findings.add("image.deep", name, name)
    if seen.pages > 1:
        findings.add("image.pages", f"{name}: {seen.pages}")


def _other_size(name: str, seen: Seen, size: tuple[int, int]) -> str:
    """What may have happened to an image of another size."""
    (height, width), (own_height, own_width) = size, seen.size
    text = f"{name} is {own_width}x{own_height}, annotated as {width}x{height}"
    if size == seen.size[::-1]:
        return f"{text}: it was turned, and has no EXIF mark that says so"
    factor = own_width / width
    if abs(own_height - factor * height) <= 1:
        return f"{text}: it was scaled by {factor:.3g}"
    return text


def _check_copies(
    folder: Path, records: Sequence[ImageRecord], seen: Sequence[Seen], findings: Findings
) -> None:
    for group in same_bytes(
        [(folder / r.file_name, s) for r, s in zip(records, seen, strict=True)]
    ):
        names = [records[k].file_name for k in group]
        findings.add("image.same_bytes", " = ".join(names[:3]), names[0], count=len(group) - 1)


def same_bytes(files: Sequence[tuple[Path, Seen]]) -> list[list[int]]:
    """Which files hold the same bytes; only those of one length are read.

    Args:
        files: and what was seen of them.

    Returns:
        Groups of two or more places.
    """
    sizes: dict[int, list[int]] = defaultdict(list)
    for place, (_, seen) in enumerate(files):
        if seen.bytes and seen.error is None:
            sizes[seen.bytes].append(place)
    groups: dict[str, list[int]] = defaultdict(list)
    for places in sizes.values():
        for place in places if len(places) > 1 else ():
            groups[sha256(files[place][0])].append(place)
    return [group for group in groups.values() if len(group) > 1]
