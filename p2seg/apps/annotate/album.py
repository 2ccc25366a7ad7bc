"""Serves the images of a folder by number and size, and no other file."""

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
"""Most decoded images in memory: the current one, its two neighbors, and one more."""

KEPT_PIXELS = 150_000_000
"""Most pixels of the decoded images together. One image always stays in memory."""

LONGEST_SIDE = 4096
"""Most pixels on the longest side of a picture sent to the browser."""


@dataclass(frozen=True)
class Part:
    """A rectangle of an image and the size at which it is sent, in pixels.

    Attributes:
        left, top, width, height: the rectangle in the image.
        to_width, to_height: the size to send; larger values than the rectangle are reduced.
    """

    left: int
    top: int
    width: int
    height: int
    to_width: int
    to_height: int


class Album:
    """The images below a folder, numbered by their sorted names.

    An image is read when it is first requested, and the last few stay in memory. Thread-safe.

    Args:
        folder: images are found at any depth. Links are followed; a link that changes later is
            refused.
        size_of: returns the (height, width) at which a named image was annotated, or None.

    Attributes:
        names: the sorted image names.
        left_out: one message per file that is not shown.
        faults: error message by image number, set when the image is read.

    Raises:
        UserError: the folder does not exist, or has no valid image.
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
        """Returns an image, `[H, W, 3]` uint8 RGB, upright.

        Raises:
            UserError: the image cannot be read, or its size differs from the annotated size. The
                message is also in `faults`.
            IndexError: no image has this number.
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
            self._forget(number)  # the user may fix the file
            self.faults[number] = when_skipped(error)
            raise UserError(self.faults[number]) from error
        self.faults.pop(number, None)
        self._drop_old()
        return image

    def look(self, number: int) -> None:
        """Reads only the image's header, which finds most faults without decoding the image."""
        try:
            self._check_place(self.names[number])
            check_image(self.folder / self.names[number], self.size_of(self.names[number]))
        except UserError as error:
            self.faults[number] = when_skipped(error)

    def fitted(self, number: int, side: int) -> tuple[bytes, str]:
        """Returns an encoded image of at most `side` pixels on its long side, and its MIME type.

        Raises:
            UserError: see `image`.
            IndexError: no image has this number.
        """
        height, width = self.image(number).shape[:2]
        scale = min(1.0, max(side, 1) / max(height, width))
        to = max(1, round(width * scale)), max(1, round(height * scale))
        return self.picture(number, Part(0, 0, width, height, *to))

    def picture(self, number: int, part: Part) -> tuple[bytes, str]:
        """Returns a part of an image, encoded, and its MIME type.

        Raises:
            UserError: see `image`.
            IndexError: no image has this number.
        """
        image = self.image(number)
        height, width = image.shape[:2]
        left, top = min(max(part.left, 0), width - 1), min(max(part.top, 0), height - 1)
        cut = image[top : top + max(part.height, 1), left : left + max(part.width, 1)]
        to_height, to_width = (
            max(1, min(requested, actual, LONGEST_SIDE))
            for requested, actual in zip(
                (part.to_height, part.to_width), cut.shape[:2], strict=True
            )
        )
        if (to_height, to_width) != cut.shape[:2]:
            small = cv2.resize(cut, (to_width, to_height), interpolation=cv2.INTER_AREA)
            return _encoded(".jpg", np.asarray(small), [cv2.IMWRITE_JPEG_QUALITY, 90]), "image/jpeg"
        # At full size the user sees single pixels, so the encoding must be lossless.
        return _encoded(".png", cut, [cv2.IMWRITE_PNG_COMPRESSION, 1]), "image/png"

    def close(self) -> None:
        """Ends the reader threads."""
        self._readers.shutdown(wait=False, cancel_futures=True)

    def _opened(self, number: int) -> Picture:
        name = self.names[number]
        self._check_place(name)
        return read_image(self.folder / name, self.size_of(name))

    def _refusal(self, name: str) -> str | None:
        """Returns why a file of the folder is not shown, or None."""
        try:
            file_name_of(name, 0)
        except UserError:
            return f"{name!r} cannot be stored in a points file; rename the file"
        try:
            self._places[name] = (self.folder / name).resolve(strict=True)
        except (OSError, RuntimeError):
            return f"{name} is a broken link; remove the link or restore its target"
        return None

    def _check_place(self, name: str) -> None:
        """Rejects a link whose target has changed since the folder was listed."""
        try:
            same = (self.folder / name).resolve() == self._places[name]
        except (OSError, RuntimeError):  # a link to itself raises RuntimeError
            same = False
        if not same:
            raise UserError(f"{name} is a link whose target has changed; restart p2seg annotate")

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
