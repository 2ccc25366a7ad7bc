"""Base classes of the mask formats: a folder that receives the instances image by image.

Some tools expect the whole set in one file. That file is written at the end, from a second pass
over all images. Several processes can therefore share the first pass, and a killed export resumes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from math import floor
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Protocol
from urllib.parse import quote

import cv2
import numpy as np
from numpy.typing import NDArray

from p2seg.data.coco import Category, ImageRecord, Instance
from p2seg.runtime.files import write_bytes

Source = Path | NDArray[np.uint8]
"""The file of an image, or the pixels `[H, W, 3]` RGB of a video frame that has no file."""


class Labeled(Protocol):
    """An instance that can be written: a detection or a pseudo mask."""

    @property
    def label(self) -> int:
        """Class index 1..C."""

    @property
    def score(self) -> float:
        """Confidence, 0..1."""

    @property
    def rle(self) -> dict[str, Any]:
        """The mask, `{"size": [H, W], "counts": bytes}`."""


@dataclass(frozen=True)
class Options:
    """Options of an export. A format ignores the options that it has no field for.

    Attributes:
        points: also write the click of each instance that has one.
        polygons: write polygons instead of masks where no pixel changes.
        prefix: prefix of the image addresses.
        info: origin of the masks.
        val: share of the images that YOLO and COCO put into the validation set.
    """

    points: bool = False
    polygons: bool = False
    prefix: str = "/data/local-files/?d=images/"
    info: Mapping[str, Any] = field(default_factory=dict)
    val: float = 0.0


PLAIN = Options()


def validation_names(names: Iterable[str], share: float) -> frozenset[str]:
    """The names of the validation set, independent of the order of `names`.

    Args:
        names: names of all images.
        share: share for validation, 0 to 1. With two or more names and a share above 0, neither
            set is empty.
    """
    ranked = sorted(set(names), key=lambda name: sha256(name.encode()).digest())
    count = round(share * len(ranked))
    if share > 0 and len(ranked) > 1:
        count = min(max(count, 1), len(ranked) - 1)
    return frozenset(ranked[:count])


def address_of(images: Path) -> str:
    """The Label Studio address of an image folder, if the local storage root is its parent.

    Args:
        images: the folder, or a file or pattern in it.
    """
    folder = images if images.is_dir() else images.parent
    return f"/data/local-files/?d={quote(folder.absolute().name)}/"


@dataclass(frozen=True)
class Entry:
    """An image and its instances.

    Attributes:
        record: the image's record.
        instances: sorted by score, highest first. No mask is empty.
    """

    record: ImageRecord
    instances: Sequence[Labeled]


class Format(ABC):
    """A folder of files in one format.

    Args:
        folder: the folder, created with the first image.
        categories: class k is `categories[k - 1]`.
        options: options of the export.
    """

    whole: ClassVar[bool] = False
    """Whether `finish` writes a file of the whole set."""

    def __init__(
        self, folder: Path, categories: Sequence[Category], options: Options = PLAIN
    ) -> None:
        self.folder = folder
        self.categories = categories
        self.options = options
        self._begun = False

    def write(
        self, place: str, record: ImageRecord, source: Source, instances: Sequence[Labeled]
    ) -> None:
        """Writes the files of an image, even without instances.

        Args:
            place: path of the files below the folder, without suffix; see `places`.
            record: the image's record.
            source: the image. One that is not a file is also written, as PNG.
            instances: sorted by score, highest first. No mask is empty.
        """
        if not self._begun:
            self._begin()
            self._begun = True
        self._write(place, record, source, instances)

    def finish(self, entries_of: Callable[[], Iterable[Entry]]) -> None:  # noqa: B027 - optional
        """Writes the file of the whole set, if the format has one, after the last image.

        Args:
            entries_of: iterates over all images in the order of the file. It can be called again,
                so that the images need not be in memory.
        """

    def _begin(self) -> None:  # noqa: B027 - optional
        """Writes the files that describe the set, before the first image."""

    @abstractmethod
    def _write(
        self, place: str, record: ImageRecord, source: Source, instances: Sequence[Labeled]
    ) -> None:
        """Writes the files of one image; see `write`."""


class SetFormat(Format):
    """A format with the whole set in one file that refers to images by name.

    An image that is not a file is written to `images/`.
    """

    whole = True

    def _write(
        self,
        place: str,  # noqa: ARG002 - the file refers to an image by its name
        record: ImageRecord,
        source: Source,
        instances: Sequence[Labeled],  # noqa: ARG002 - `finish` writes them
    ) -> None:
        if not isinstance(source, Path):
            write_picture(self.folder / "images" / record.file_name, source)

    @abstractmethod
    def finish(self, entries_of: Callable[[], Iterable[Entry]]) -> None:
        """See `Format.finish`."""


def places(names: Iterable[str]) -> dict[str, str]:
    """The output path of each image: without suffix if that is unique, else with suffix.

    Args:
        names: unique paths of images below their folder.

    Returns:
        Path by name. All differ, even on a file system that ignores case.
    """
    names = list(names)
    stems = {name: str(PurePosixPath(name).with_suffix("")) for name in names}
    shared = Counter(stem.casefold() for stem in stems.values())
    whole = {name.casefold() for name in names}
    return {
        name: name if shared[stem.casefold()] > 1 or stem.casefold() in whole else stem
        for name, stem in stems.items()
    }


def click_of(instance: Labeled, record: ImageRecord) -> tuple[float, float] | None:
    """The click (x, y) of an instance along pixel edges, or None."""
    if not isinstance(instance, Instance) or instance.point is None:
        return None
    x, y = on_edges(*instance.point)
    return min(x, record.width), min(y, record.height)


def on_edges(y: float, x: float) -> tuple[float, float]:
    """Converts a point (y, x) to (x, y) along pixel edges, where the first pixel covers 0 to 1.

    In p2seg files the center of a pixel is an integer; along edges it is 0.5 more. A point stays
    on the pixel of its integer part: 2.7 becomes 2.99, not 3.2.
    """
    x, y = (floor(each) + min(each % 1 + 0.5, 0.99) for each in (x, y))
    return x, y


def write_picture(path: Path, image: NDArray[np.uint8]) -> None:
    """Writes `[H, W, 3]` RGB as PNG."""
    write_bytes(path, cv2.imencode(".png", image[:, :, ::-1])[1].tobytes())
