"""Videos, read and written frame by frame with OpenCV: no more than one is in memory."""

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

os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # read at the first video: FFmpeg is silent
# playlists and the like, whatever their ending, would open other files and the net
os.environ.setdefault(
    "OPENCV_FFMPEG_CAPTURE_OPTIONS",
    "format_whitelist;mov,mp4,m4a,3gp,3g2,mj2,avi,matroska,webm|protocol_whitelist;file",
)

VIDEO_SUFFIXES = frozenset({".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v"})
"""File name endings that count as videos."""

USUAL_RATE = 25.0
"""Frames a second of a video that does not say it."""
FINEST_RATE = 65.0
"""MPEG-4 counts time in at most 65535 parts of a second: higher rates are whole numbers."""


class Video:
    """A video file.

    Args:
        path: the file.

    Attributes:
        path: the file.
        rate: frames a second.
        count: frames by the file's head, which may err; None where it does not say.

    Raises:
        UserError: missing, or no video that OpenCV reads a frame of.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_file():
            raise UserError(f"no video at {path}; give the path of an existing file")
        with self._opened() as capture:
            rate, count = capture.get(cv2.CAP_PROP_FPS), capture.get(cv2.CAP_PROP_FRAME_COUNT)
            width = capture.get(cv2.CAP_PROP_FRAME_WIDTH)
            pixels = width * capture.get(cv2.CAP_PROP_FRAME_HEIGHT)
            if pixels > MAX_PIXELS:
                raise UserError(
                    f"video {path} declares {pixels:.3g} pixels a frame, more than {MAX_PIXELS}; "
                    "make it smaller, or go on without it with data.on_error=skip"
                )
            if not capture.isOpened() or _read(capture) is None:
                raise UserError(
                    f"{path} is no video that OpenCV can read a frame of; write it anew (ffmpeg -i "
                    f"{path.name} -c:v libx264 new.mp4), or go on without it with "
                    "data.on_error=skip"
                )
        self.rate = float(rate) if math.isfinite(rate) and rate > 0 else USUAL_RATE
        self.count = int(count) if math.isfinite(count) and count > 0 else None

    def frames(self, every: int = 1) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """Every so-manieth frame with its number, from 0: `[H, W, 3]` uint8 RGB, upright."""
        with self._opened() as capture:
            number = 0
            while capture.grab():
                if number % every == 0:
                    frame = _read(capture, grabbed=True)
                    if frame is not None:
                        yield number, np.ascontiguousarray(frame[:, :, ::-1])
                number += 1

    @contextmanager
    def _opened(self) -> Iterator[Any]:
        with _silence():
            # whole, or FFmpeg takes what stands before a colon for a protocol
            capture = cv2.VideoCapture(str(self.path.absolute()), cv2.CAP_FFMPEG)
        try:
            yield capture
        finally:
            capture.release()


class VideoWriter:
    """Writes an MP4 (MPEG-4), of the size of its first frame; used as a context.

    Args:
        path: the file; it is there, whole, when the context ends well.
        rate: frames a second.
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
            except RuntimeError as short:  # the context tells it, with the system's reason
                self._context.__exit__(type(short), short, short.__traceback__)
                raise
        self._context.__exit__(*error)

    def _check(self) -> None:
        """Counts the frames of the file: OpenCV says nothing of a full disk."""
        if self._writer is not None:
            with _silence():
                written = cv2.VideoCapture(str(self._temporary.absolute()), cv2.CAP_FFMPEG)
            count = int(written.get(cv2.CAP_PROP_FRAME_COUNT))
            written.release()
            if count != self._count:
                raise RuntimeError(f"{self.path} has {count} frames in place of {self._count}")

    def write(self, frame: NDArray[np.uint8]) -> None:
        """Appends a frame, `[H, W, 3]` uint8 RGB; one of another size is brought to the first's.

        Raises:
            UserError: OpenCV cannot write the video.
        """
        if self._writer is None:
            height, width = (max(2, side - side % 2) for side in frame.shape[:2])  # as codecs want
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
                    f"OpenCV cannot write the video {self.path}; go on without it with "
                    "predict.overlays=false"
                )
        if frame.shape[1::-1] != self._size:
            frame = np.asarray(cv2.resize(frame, self._size), np.uint8)
        self._writer.write(np.ascontiguousarray(frame[:, :, ::-1]))
        self._count += 1


def _read(capture: Any, *, grabbed: bool = False) -> NDArray[np.uint8] | None:
    """The next frame, BGR, or the one that was grabbed; None where it cannot be decoded."""
    try:
        there, frame = capture.retrieve() if grabbed else capture.read()
    except cv2.error:
        return None
    return frame if there else None


@contextmanager
def _silence() -> Iterator[None]:
    """OpenCV prints nothing about a file that it cannot open: that is told by us."""
    before = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(before)
