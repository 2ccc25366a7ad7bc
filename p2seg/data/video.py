"""Reads and writes videos frame by frame with OpenCV; only one frame is in memory."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from p2seg.data.rle import MAX_PIXELS
from p2seg.errors import UserError
from p2seg.runtime.files import atomic_path

# OpenCV reads both variables when it opens the first video; the first one silences FFmpeg
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
# without a list of formats, FFmpeg would open playlists, which name other files and URLs
os.environ.setdefault(
    "OPENCV_FFMPEG_CAPTURE_OPTIONS",
    "format_whitelist;mov,mp4,m4a,3gp,3g2,mj2,avi,matroska,webm|protocol_whitelist;file",
)

VIDEO_SUFFIXES = frozenset({".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v"})
"""File name endings of videos."""

USUAL_RATE = 25.0
"""Frames per second of a video that does not declare its rate."""
FINEST_RATE = 65.0
"""Higher rates are rounded to integers, because MPEG-4 divides a second by at most 65535."""


class Video:
    """A video file.

    Args:
        path: the file.

    Attributes:
        path: the file.
        rate: frames per second.
        count: number of frames that the header declares, which can be wrong; None: not declared.

    Raises:
        UserError: the file is missing, too large, or OpenCV cannot read a frame of it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_file():
            raise UserError(f"no video at {path}; give the path of an existing file")
        with self._capture() as capture:
            rate, count = capture.get(cv2.CAP_PROP_FPS), capture.get(cv2.CAP_PROP_FRAME_COUNT)
            width = capture.get(cv2.CAP_PROP_FRAME_WIDTH)
            pixels = width * capture.get(cv2.CAP_PROP_FRAME_HEIGHT)
            if pixels > MAX_PIXELS:
                raise UserError(
                    f"video {path} declares {pixels:.3g} pixels per frame, more than "
                    f"{MAX_PIXELS}; make it smaller, or skip it with data.on_error=skip"
                )
            if not capture.isOpened() or _read(capture) is None:
                raise UserError(
                    f"{path} is not a video that OpenCV can read; convert it (ffmpeg -i "
                    f"{path.name} -c:v libx264 new.mp4), or skip it with data.on_error=skip"
                )
        self.rate = float(rate) if math.isfinite(rate) and rate > 0 else USUAL_RATE
        self.count = int(count) if math.isfinite(count) and count > 0 else None

    def frames(self, every: int = 1) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """Yields the number, from 0, and the image of every n-th frame.

        Args:
            every: n.

        Yields:
            The number, and the frame as `[H, W, 3]` uint8 RGB, upright.
        """
        with self._capture() as capture:
            number = 0
            while capture.grab():
                if number % every == 0:
                    frame = _read(capture, grabbed=True)
                    if frame is not None:
                        yield number, np.ascontiguousarray(frame[:, :, ::-1])
                number += 1

    @contextmanager
    def _capture(self) -> Iterator[Any]:
        with _silence():
            # absolute, because FFmpeg reads text before a colon as a protocol
            capture = cv2.VideoCapture(str(self.path.absolute()), cv2.CAP_FFMPEG)
        try:
            yield capture
        finally:
            capture.release()


class VideoWriter:
    """Context manager that writes an MP4 file (MPEG-4) of the size of its first frame.

    Args:
        path: the file; it is created when the context ends without an error.
        rate: frames per second.
    """

    def __init__(self, path: Path, rate: float) -> None:
        self.path = path
        self.rate = min(rate if rate <= FINEST_RATE else round(rate), 65535)
        self._context = atomic_path(path)
        self._writer: Any = None
        self._count = 0

    def __enter__(self) -> VideoWriter:
        self._temporary = self._context.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        if self._writer is not None:
            self._writer.release()
        if error[0] is None:
            try:
                self._check()
            except RuntimeError as missing:
                self._context.__exit__(type(missing), missing, missing.__traceback__)
                raise
        self._context.__exit__(*error)

    def _check(self) -> None:
        """Counts the frames of the file, because OpenCV does not report a full disk."""
        if self._writer is not None:
            with _silence():
                capture = cv2.VideoCapture(str(self._temporary.absolute()), cv2.CAP_FFMPEG)
            count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
            capture.release()
            if count != self._count:
                raise RuntimeError(f"{self.path} has {count} frames instead of {self._count}")

    def write(self, frame: NDArray[np.uint8]) -> None:
        """Appends a frame; a frame of another size is resized to the size of the first frame.

        Args:
            frame: `[H, W, 3]` uint8 RGB.

        Raises:
            UserError: OpenCV cannot write the video.
        """
        if self._writer is None:
            # codecs need even sides
            height, width = (max(2, side - side % 2) for side in frame.shape[:2])
            self._size = width, height
            with _silence():
                self._writer = cv2.VideoWriter(
                    str(self._temporary.absolute()),
                    cv2.CAP_FFMPEG,
                    cv2.VideoWriter.fourcc(*"mp4v"),
                    self.rate,
                    self._size,
                )
            if not self._writer.isOpened():
                raise UserError(
                    f"OpenCV cannot write the video {self.path}; to continue without it, set "
                    "predict.overlays=false"
                )
        if frame.shape[1::-1] != self._size:
            frame = np.asarray(cv2.resize(frame, self._size), np.uint8)
        self._writer.write(np.ascontiguousarray(frame[:, :, ::-1]))
        self._count += 1


def _read(capture: Any, *, grabbed: bool = False) -> NDArray[np.uint8] | None:
    """The next or the grabbed frame, BGR; None if it cannot be decoded."""
    try:
        decoded, frame = capture.retrieve() if grabbed else capture.read()
    except cv2.error:
        return None
    return frame if decoded else None


@contextmanager
def _silence() -> Iterator[None]:
    """Stops OpenCV from printing about a file that it cannot open; a `UserError` reports it."""
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(level)
