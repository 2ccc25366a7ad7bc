"""Images wherever a user has them: a folder, a pattern, one file, or a video's frames."""

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
"""A video that ends sooner than this part of what its head announces is told of."""


@dataclass(frozen=True)
class Source:
    """An image file or a video.

    Attributes:
        path: the file.
        name: what it is called in results, with `/`.
        id: of the image in an annotation file; None: images are counted.
        size: (height, width) of the image where an annotation says it.
    """

    path: Path
    name: str
    id: int | None = None
    size: tuple[int, int] | None = None

    @property
    def is_video(self) -> bool:
        """Whether it is a video, by the ending of its name."""
        return self.path.suffix.lower() in VIDEO_SUFFIXES


@dataclass(frozen=True)
class Frame:
    """An image that was read.

    Attributes:
        record: its id, its name and the size that it was read in.
        image: `[H, W, 3]` uint8 RGB.
        source: where it is from.
        rate: of a video's frames: those that are taken, a second.
    """

    record: ImageRecord
    image: NDArray[np.uint8]
    source: Source
    rate: float | None = None


def sources_at(given: Path) -> list[Source]:
    """The images and videos that a path means, sorted by name.

    Args:
        given: a folder (all images below it), an image, a video, or a pattern with `*`, `?`, `[..]`
            and `**`, of both. What exists is taken to the letter, whatever its name, and so are the
            folders before a pattern. Names are relative to the folder, or to that of a file.

    Raises:
        UserError: nothing is there, nothing of it is an image or a video, or a name that no JSON
            can hold.
    """
    if given.is_dir():
        folder, names = given, _below(given)
        if not names:
            raise UserError(
                f"no image in {given}{_unread(given)}; {ENDINGS}, and a video is given by its own "
                "path"
            )
    elif given.is_file():
        folder, names = given.parent, _known([given.name])
        if not names:
            raise UserError(f"{given} is neither an image nor a video by its name; {ENDINGS}")
    elif glob.has_magic(str(given)):
        folder, pattern = _split(given)
        # hidden folders stay out, which pathlib's patterns go into
        found = glob.glob(pattern, root_dir=folder, recursive=True)  # noqa: PTH207
        files = [posixpath.normpath(Path(n).as_posix()) for n in found if (folder / n).is_file()]
        names = _known(files)
        if not names:
            saw = f"{len(files)} files of other kinds match" if files else "nothing matches"
            raise UserError(f"{saw} {given}; {ENDINGS}")
    else:
        raise UserError(
            f"no image folder at {given}, nor an image or a video; give an existing folder, a file "
            "or a pattern such as images='photos/*.jpg'"
        )
    for name in names:
        if name.startswith("../"):
            raise UserError(f"the pattern {given} leaves {folder} again; write it without ..")
        if any("\ud800" <= letter <= "\udfff" for letter in name):
            raise UserError(f"the file name {name!r} in {folder} is no UTF-8; rename the file")
    return [Source(folder / name, name) for name in sorted(set(names))]


def _unread(folder: Path) -> str:
    found = ", ".join(f"{count} {ending}" for ending, count in left_out(folder).items())
    return f" that can be read ({found}: convert them to .png or .jpg)" if found else ""


def check_sources(sources: Iterable[Source]) -> None:
    """Looks at every image's head and every video's first frame, before hours of work.

    Raises:
        UserError: of the first that cannot be read; one that is cut short is found only later.
    """
    for source in sources:
        if source.is_video:
            Video(source.path)
        else:
            check_image(source.path, source.size)


def count_frames(sources: Sequence[Source], every: int) -> int | None:
    """The images and frames that will come, by the heads of videos; None where they do not say."""
    total = 0
    for source in sources:
        if not source.is_video:
            total += 1
            continue
        try:
            count = Video(source.path).count
        except UserError:
            count = 1  # the sentence
        if count is None:
            return None
        total += -(-count // every)
    return total


def read_frames(sources: Iterable[Source], every: int, on_error: str) -> Iterator[Frame | str]:
    """Reads images and frames, one after the other; ids count from 1 where there are none.

    Args:
        sources: in this order.
        every: takes every so-manieth frame of videos: `clip.mp4/000000.png`, ...
        on_error: `raise` at the first that cannot be read, or `skip` it.

    Yields:
        Each image, or the sentence that says why there is none; of a video that ends before its
        announced end also a sentence, behind its frames.

    Raises:
        UserError: something cannot be read and `on_error` is `raise`.
    """
    taken = 0
    for source in sources:
        try:
            if not source.is_video:
                taken += 1
                image = read_image(source.path, source.size)
                id = taken if source.id is None else source.id
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
            taken += 1
            record = ImageRecord(taken, f"{source.name}/{number:06d}.png", *image.shape[:2])
            yield Frame(record, image, source, video.rate / every)
        if video.count is not None and last + every < video.count * (1 - MISSING):
            yield (
                f"video {source.path} ends after frame {last} of the {video.count} that it "
                "announces; it is broken or cut short"
            )


def _below(folder: Path) -> list[str]:
    """The images below a folder."""
    names = (path.relative_to(folder).as_posix() for path in files_below(folder))
    return [name for name in _known(names) if Path(name).suffix.lower() in SUFFIXES]


def left_out(folder: Path) -> Counter[str]:
    """Files of a folder that are images by their ending and are not read, by that ending."""
    endings = (path.suffix.lower() for path in files_below(folder) if path.name[0] != ".")
    return Counter(ending for ending in endings if ending in UNREAD)


def _known(names: Iterable[str]) -> list[str]:
    """Those that are images or videos by their ending, and not hidden."""
    known = SUFFIXES | VIDEO_SUFFIXES
    return [
        name
        for name in names
        if Path(name).suffix.lower() in known and not Path(name).name.startswith(".")
    ]


def _split(given: Path) -> tuple[Path, str]:
    """The folders at a pattern's start that exist, and the pattern below them."""
    folder = Path(given.anchor)
    parts = given.parts[1:] if given.anchor else given.parts
    for place, part in enumerate(parts):
        if not (folder / part).is_dir():
            return folder, str(Path(*parts[place:]))
        folder /= part
    return folder, ""  # pragma: no cover - such a path is a folder
