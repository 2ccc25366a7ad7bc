"""What every format is: a folder that takes the instances of one image after the other.

Some tools want the whole set in one file. It is written at the end, from a second look at all
images: so many processes may share the first one, and an export that was killed can go on.
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
"""The file of an image; or, of an image that is no file, its pixels `[H, W, 3]` RGB."""


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
    """What a user may choose.

    Attributes:
        points: clicks go along, where the format has a place for them and the instance has one.
        polygons: polygons, where they lose nothing, in formats that have both polygons and masks.
        prefix: of the pictures' addresses, where a format has addresses.
        info: what is known of the masks' origin, where a format has a place for it.
        val: share of the images that YOLO and COCO put into a set for validation.
    """

    points: bool = False
    polygons: bool = False
    prefix: str = "/data/local-files/?d=images/"
    info: Mapping[str, Any] = field(default_factory=dict)
    val: float = 0.0


PLAIN = Options()


def validation_names(names: Iterable[str], share: float) -> frozenset[str]:
    """The names of a validation set. They do not depend on the order of the names.

    Args:
        names: of all images.
        share: of the names that are chosen, 0 to 1. Of two or more names, at least one is chosen
            if the share is not 0, and at least one is left.
    """
    ranked = sorted(set(names), key=lambda name: sha256(name.encode()).digest())
    count = round(share * len(ranked))
    if share > 0 and len(ranked) > 1:
        count = min(max(count, 1), len(ranked) - 1)
    return frozenset(ranked[:count])


def address_of(images: Path) -> str:
    """Where Label Studio has a folder of its local storage, if its root is the folder above.

    Args:
        images: the folder; of a file or a pattern, that which holds it.
    """
    folder = images if images.is_dir() else images.parent
    return f"/data/local-files/?d={quote(folder.absolute().name)}/"


@dataclass(frozen=True)
class Entry:
    """An image and its instances.

    Attributes:
        record: of the image.
        instances: best first, none with an empty mask.
    """

    record: ImageRecord
    instances: Sequence[Labeled]


class Format(ABC):
    """A folder of files in one format.

    Args:
        folder: it is made when the first image is written.
        categories: class k is `categories[k - 1]`.
        options: what the user chose.
    """

    whole: ClassVar[bool] = False
    """Whether `finish` writes something."""

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
        """Writes the files of an image, also of one without instances.

        Args:
            place: of the files below the folder, without ending; see `places`.
            record: of the image.
            source: where the image is; one that is no file is written beside, as PNG.
            instances: best first, none with an empty mask.
        """
        if not self._begun:
            self._begin()
            self._begun = True
        self._write(place, record, source, instances)

    def finish(self, look: Callable[[], Iterable[Entry]]) -> None:  # noqa: B027 - most have none
        """Writes the file of the whole set, if the format has one, after the last image.

        Args:
            look: gives all images, one after the other, in the order of the file; it may be called
                more than once, so that they need not be in memory.
        """

    def _begin(self) -> None:  # noqa: B027 - not every format has such files
        """Writes what the folder has once, before the first image."""

    @abstractmethod
    def _write(
        self, place: str, record: ImageRecord, source: Source, instances: Sequence[Labeled]
    ) -> None:
        """`write` of one image."""


class SetFormat(Format):
    """A format that has the whole set in one file, in which images are called by their names.

    Of an image that is no file the pixels are written to `images/`.
    """

    whole = True

    def _write(
        self,
        place: str,  # noqa: ARG002 - an image is called by its name
        record: ImageRecord,
        source: Source,
        instances: Sequence[Labeled],  # noqa: ARG002 - they come again, in `finish`
    ) -> None:
        if not isinstance(source, Path):
            write_picture(self.folder / "images" / record.file_name, source)

    @abstractmethod
    def finish(self, look: Callable[[], Iterable[Entry]]) -> None:
        """See `Format.finish`."""


def places(names: Iterable[str]) -> dict[str, str]:
    """The path of each image without its ending, where that is no other image's; else with it.

    Args:
        names: paths of images below their folder, all different.

    Returns:
        By name; all different, also where a file system does not tell A from a.
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
    """The click of an instance as (x, y) in pixels edge to edge; None if it has none."""
    if not isinstance(instance, Instance) or instance.point is None:
        return None
    x, y = on_edges(*instance.point)
    return min(x, record.width), min(y, record.height)


def on_edges(y: float, x: float) -> tuple[float, float]:
    """A point (y, x) as (x, y) along the pixels' edges, where the first pixel reaches from 0 to 1.

    In our files a pixel's center is a whole number, here it is half a pixel beyond. A point stays
    on its pixel, that of its whole part: 2.7 becomes 2.99, not 3.2.
    """
    x, y = (floor(each) + min(each % 1 + 0.5, 0.99) for each in (x, y))
    return x, y


def write_picture(path: Path, image: NDArray[np.uint8]) -> None:
    """Writes `[H, W, 3]` RGB as PNG."""
    write_bytes(path, cv2.imencode(".png", image[:, :, ::-1])[1].tobytes())
