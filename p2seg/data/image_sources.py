"""Finds and reads the images of a folder, a pattern, one file, or the frames of a video."""

from __future__ import annotations

import glob
import posixpath
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from p2seg.data.images import SUFFIXES, UNREAD, check_image, read_image
from p2seg.data.records import ImageRecord
from p2seg.data.video import VIDEO_SUFFIXES, Video
from p2seg.errors import UserError, when_skipped
from p2seg.runtime.content_fingerprint import files_below

ENDINGS = (
    "images end in .jpg, .png, .tif, .webp, .bmp, .gif, .jp2, .avif or the like, videos in "
    f"{', '.join(sorted(VIDEO_SUFFIXES))}"
)
MISSING = 0.02
"""A video is reported if it lacks more than this share of the frames that its header declares."""


@dataclass(frozen=True)
class Source:
    """An image file or a video.

    Attributes:
        path: the file.
        name: its name in results, with `/` between folders.
        id: the image id in an annotation file; None: ids count from 1.
        size: (height, width) in the annotation file, pixels; None: unknown.
    """

    path: Path
    name: str
    id: int | None = None
    size: tuple[int, int] | None = None

    @property
    def is_video(self) -> bool:
        """Whether the file is a video, by the ending of its name."""
        return self.path.suffix.lower() in VIDEO_SUFFIXES


@dataclass(frozen=True)
class Frame:
    """A decoded image or video frame.

    Attributes:
        record: id, name and size of the image.
        image: `[H, W, 3]` uint8 RGB.
        source: the file of the image.
        rate: selected frames per second of a video; None for an image file.
    """

    record: ImageRecord
    image: NDArray[np.uint8]
    source: Source
    rate: float | None = None


def sources_at(path: Path) -> list[Source]:
    """The images and videos at a path, sorted by name.

    Args:
        path: a folder (all images below it), an image, a video, or a pattern with `*`, `?`, `[..]`
            and `**`. An existing path is not interpreted as a pattern, and neither are existing
            folders at the start of a pattern. Names are relative to the folder.

    Raises:
        UserError: no image or video exists at the path, or a file name is not valid UTF-8.
    """
    if path.is_dir():
        folder, names = path, _images_below(path)
        if not names:
            raise UserError(
                f"no image in {path}{_unsupported(path)}; {ENDINGS}; to read a video, give the "
                "path of its file"
            )
    elif path.is_file():
        folder, names = path.parent, _supported([path.name])
        if not names:
            raise UserError(f"{path} is neither an image nor a video by its name; {ENDINGS}")
    elif glob.has_magic(str(path)):
        folder, pattern = _split(path)
        # unlike pathlib's patterns, glob skips hidden folders
        matches = glob.glob(pattern, root_dir=folder, recursive=True)  # noqa: PTH207
        files = [posixpath.normpath(Path(n).as_posix()) for n in matches if (folder / n).is_file()]
        names = _supported(files)
        if not names:
            count = f"{len(files)} files of other kinds match" if files else "nothing matches"
            raise UserError(f"{count} {path}; {ENDINGS}")
    else:
        raise UserError(
            f"no image folder, image or video at {path}; give an existing folder, a file "
            "or a pattern such as images='photos/*.jpg'"
        )
    for name in names:
        if name.startswith("../"):
            raise UserError(f"the pattern {path} leaves the folder {folder}; write it without ..")
        if any("\ud800" <= letter <= "\udfff" for letter in name):
            raise UserError(f"the file name {name!r} in {folder} is not UTF-8; rename the file")
    return [Source(folder / name, name) for name in sorted(set(names))]


def _unsupported(folder: Path) -> str:
    counts = unsupported_images(folder)
    kinds = ", ".join(f"{count} {ending}" for ending, count in counts.items())
    return f" that can be read ({kinds}: convert them to .png or .jpg)" if kinds else ""


def check_sources(sources: Iterable[Source]) -> None:
    """Checks the header of each image and the first frame of each video.

    Raises:
        UserError: the first error; truncated image data is detected only when it is read.
    """
    for source in sources:
        if source.is_video:
            Video(source.path)
        else:
            check_image(source.path, source.size)


def count_frames(sources: Sequence[Source], every: int) -> int | None:
    """The number of images and frames to read; None if a video does not declare its length."""
    total = 0
    for source in sources:
        if not source.is_video:
            total += 1
            continue
        try:
            count = Video(source.path).count
        except UserError:
            count = 1  # `read_frames` yields the error instead
        if count is None:
            return None
        total += -(-count // every)
    return total


def read_frames(sources: Iterable[Source], every: int, on_error: str) -> Iterator[Frame | str]:
    """Reads images and video frames one after the other; ids count from 1 if sources have none.

    Args:
        sources: the files, in this order.
        every: n, to read every n-th frame of a video; frames are named `clip.mp4/000000.png`, ...
        on_error: `raise` the first error, or `skip` unreadable files.

    Yields:
        Each image, or the error of a skipped file. After the frames of a video that is shorter
        than declared: a warning.

    Raises:
        UserError: a file cannot be read and `on_error` is `raise`.
    """
    count = 0
    for source in sources:
        try:
            if not source.is_video:
                count += 1
                image = read_image(source.path, source.size)
                id = count if source.id is None else source.id
                yield Frame(ImageRecord(id, source.name, *image.shape[:2]), image, source)
                continue
            video = Video(source.path)
        except UserError as error:
            if on_error != "skip":
                raise
            yield when_skipped(error)
            continue
        last = -1
        for number, image in video.frames(every):
            last = number
            count += 1
            record = ImageRecord(count, f"{source.name}/{number:06d}.png", *image.shape[:2])
            yield Frame(record, image, source, video.rate / every)
        if video.count is not None and last + every < video.count * (1 - MISSING):
            yield (
                f"video {source.path} ends after frame {last}, but its header declares "
                f"{video.count} frames; the file is damaged or truncated"
            )


def _images_below(folder: Path) -> list[str]:
    names = (path.relative_to(folder).as_posix() for path in files_below(folder))
    return [name for name in _supported(names) if Path(name).suffix.lower() in SUFFIXES]


def unsupported_images(folder: Path) -> Counter[str]:
    """Counts the files below a folder in image formats that are not read, by their ending."""
    endings = (path.suffix.lower() for path in files_below(folder) if path.name[0] != ".")
    return Counter(ending for ending in endings if ending in UNREAD)


def _supported(names: Iterable[str]) -> list[str]:
    """The names of images and videos, by their ending, without hidden files."""
    suffixes = SUFFIXES | VIDEO_SUFFIXES
    return [
        name
        for name in names
        if Path(name).suffix.lower() in suffixes and not Path(name).name.startswith(".")
    ]


def _split(path: Path) -> tuple[Path, str]:
    """Splits a path into the existing folders at its start and the pattern below them."""
    folder = Path(path.anchor)
    parts = path.parts[1:] if path.anchor else path.parts
    for place, part in enumerate(parts):
        if not (folder / part).is_dir():
            return folder, str(Path(*parts[place:]))
        folder /= part
    return folder, ""  # pragma: no cover - such a path is a folder
