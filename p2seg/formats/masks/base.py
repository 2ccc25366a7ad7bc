"""What every format is: a folder that takes the instances of one image after the other."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from p2seg.data.coco import Category, ImageRecord
from p2seg.files import write_bytes

Source = Path | NDArray[np.uint8]
"""The file of an image; or, of an image that is no file, its pixels `[H, W, 3]` RGB."""


class Labelled(Protocol):
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


class Format(ABC):
    """A folder of files in one format.

    Args:
        folder: it is made when the first image is written.
        categories: class k is `categories[k - 1]`.
    """

    def __init__(self, folder: Path, categories: Sequence[Category]) -> None:
        self.folder = folder
        self.categories = categories
        self._begun = False

    def write(
        self, place: str, record: ImageRecord, source: Source, instances: Sequence[Labelled]
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

    def _begin(self) -> None:  # noqa: B027 - not every format has such files
        """Writes what the folder has once, before the first image."""

    @abstractmethod
    def _write(
        self, place: str, record: ImageRecord, source: Source, instances: Sequence[Labelled]
    ) -> None:
        """`write` of one image."""


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


def write_picture(path: Path, image: NDArray[np.uint8]) -> None:
    """Writes `[H, W, 3]` RGB as PNG."""
    write_bytes(path, cv2.imencode(".png", image[:, :, ::-1])[1].tobytes())
