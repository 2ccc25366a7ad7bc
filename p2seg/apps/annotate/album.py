"""The images of a folder as a browser is given them: by number, scaled, nothing from elsewhere."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from p2seg.data.image_sources import sources_at
from p2seg.data.images import check_image, read_image
from p2seg.data.schema import file_name_of
from p2seg.errors import UserError, when_skipped

Picture = NDArray[np.uint8]

KEPT = 4
"""Images that are kept as they were read: the one looked at, its neighbors, and one more."""

KEPT_PIXELS = 150_000_000
"""Pixels of them together; one image is kept in any case."""

LONGEST_SIDE = 4096
"""Pixels of a picture that is sent, at most."""


@dataclass(frozen=True)
class Part:
    """A rectangle of an image, and the size in which it is sent; pixels.

    Attributes:
        left, top, width, height: in the image.
        to_width, to_height: as sent; never more than there is.
    """

    left: int
    top: int
    width: int
    height: int
    to_width: int
    to_height: int


class Album:
    """The images below a folder, each known by its place in the list.

    Images are read when they are asked for, the last few are kept. Any thread may ask.

    Args:
        folder: images below it, at any depth. Links are followed; a link that leads elsewhere
            later is not.
        size_of: (height, width) in which an image was annotated, by its name; None: not yet.

    Attributes:
        names: of the images, sorted.
        left_out: a sentence for each file that is none of them.
        faults: by number, why an image cannot be used; found when it is looked at.

    Raises:
        UserError: there is no such folder, or nothing in it can be shown.
    """

    def __init__(
        self, folder: Path, size_of: Callable[[str], tuple[int, int] | None] = lambda _: None
    ) -> None:
        if not folder.is_dir():
            raise UserError(f"no image folder at {folder}; give an existing one with images=DIR")
        self.folder, self.size_of = folder, size_of
        self._places: dict[str, Path] = {}
        self.names: list[str] = []
        self.left_out: list[str] = []
        for source in sources_at(folder):
            refusal = self._refusal(source.name)
            if refusal is None:
                self.names.append(source.name)
            else:
                self.left_out.append(refusal)
        if not self.names:
            raise UserError(f"no image of {folder} can be shown: {self.left_out[0]}")
        self.faults: dict[int, str] = {}
        self._lock = threading.Lock()
        self._read: OrderedDict[int, Future[Picture]] = OrderedDict()
        self._readers = ThreadPoolExecutor(2, "album")

    def __len__(self) -> int:
        return len(self.names)

    def image(self, number: int) -> Picture:
        """An image as the project reads it, `[H, W, 3]` uint8 RGB, upright.

        Raises:
            UserError: it cannot be read, or is not of the size in which it was annotated; the
                sentence is also in `faults`.
            IndexError: there is no such number.
        """
        if not 0 <= number < len(self.names):
            raise IndexError(number)
        with self._lock:
            future = self._read.get(number)
            if future is None:
                future = self._read[number] = self._readers.submit(self._opened, number)
            self._read.move_to_end(number)
        try:
            image = future.result()
        except UserError as error:
            self._forget(number)  # it may be mended meanwhile
            self.faults[number] = when_skipped(error)
            raise UserError(self.faults[number]) from error
        self.faults.pop(number, None)
        self._drop_old()
        return image

    def look(self, number: int) -> None:
        """Looks at an image's head alone, so that `faults` knows most of what cannot be read."""
        try:
            self._check_place(self.names[number])
            check_image(self.folder / self.names[number], self.size_of(self.names[number]))
        except UserError as error:
            self.faults[number] = when_skipped(error)

    def fitted(self, number: int, side: int) -> tuple[bytes, str]:
        """A whole image, its long side at most `side` pixels, encoded, and its media type.

        Raises:
            UserError: of `image`.
            IndexError: there is no such number.
        """
        height, width = self.image(number).shape[:2]
        scale = min(1.0, max(side, 1) / max(height, width))
        to = max(1, round(width * scale)), max(1, round(height * scale))
        return self.picture(number, Part(0, 0, width, height, *to))

    def picture(self, number: int, part: Part) -> tuple[bytes, str]:
        """A part of an image, encoded, and its media type.

        Raises:
            UserError: of `image`.
            IndexError: there is no such number.
        """
        image = self.image(number)
        height, width = image.shape[:2]
        left, top = min(max(part.left, 0), width - 1), min(max(part.top, 0), height - 1)
        cut = image[top : top + max(part.height, 1), left : left + max(part.width, 1)]
        to_height, to_width = (
            max(1, min(wanted, there, LONGEST_SIDE))
            for wanted, there in zip((part.to_height, part.to_width), cut.shape[:2], strict=True)
        )
        if (to_height, to_width) != cut.shape[:2]:
            small = cv2.resize(cut, (to_width, to_height), interpolation=cv2.INTER_AREA)
            return _encoded(".jpg", np.asarray(small), [cv2.IMWRITE_JPEG_QUALITY, 90]), "image/jpeg"
        # its own pixels are looked at one by one: nothing is lost
        return _encoded(".png", cut, [cv2.IMWRITE_PNG_COMPRESSION, 1]), "image/png"

    def close(self) -> None:
        """Ends the threads that read."""
        self._readers.shutdown(wait=False, cancel_futures=True)

    def _opened(self, number: int) -> Picture:
        name = self.names[number]
        self._check_place(name)
        return read_image(self.folder / name, self.size_of(name))

    def _refusal(self, name: str) -> str | None:
        """Why a file of the folder is not shown; None where it is."""
        try:
            file_name_of(name, 0)
        except UserError:
            return f"{name!r} is no name that a points file can hold; rename the file"
        try:
            self._places[name] = (self.folder / name).resolve(strict=True)
        except (OSError, RuntimeError):
            return f"{name} is a link to no file"
        return None

    def _check_place(self, name: str) -> None:
        """Refuses a link that leads elsewhere than when the folder was listed."""
        try:
            same = (self.folder / name).resolve() == self._places[name]
        except (OSError, RuntimeError):  # a link to itself
            same = False
        if not same:
            raise UserError(f"{name} is a link that was changed, and is not shown; start again")

    def _forget(self, number: int) -> None:
        with self._lock:
            self._read.pop(number, None)

    def _drop_old(self) -> None:
        with self._lock:
            read = [n for n, f in self._read.items() if f.done() and not f.exception()]
            pixels = sum(self._read[n].result()[..., 0].size for n in read)
            while len(read) > 1 and (len(read) > KEPT or pixels > KEPT_PIXELS):
                pixels -= self._read.pop(read.pop(0)).result()[..., 0].size


def _encoded(ending: str, picture: Picture, options: list[int]) -> bytes:
    encoded: bytes = cv2.imencode(ending, picture[:, :, ::-1], options)[1].tobytes()
    return encoded
