"""Makes quick masks of the clicked points, at a limited size and in a separate thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from p2seg.apps.annotate.album import Album
from p2seg.apps.annotate.masks import MaskMaker
from p2seg.errors import UserError
from p2seg.formats.masks.polygons import Ring, parts_of
from p2seg.structures import Points

SMOOTH = 1.0
"""Tolerance for simplifying an outline, in pixels of the small image."""


@dataclass(frozen=True)
class Outline:
    """The mask of a point: the point's id, and an SVG path in pixels of the image."""

    id: int
    path: str


@dataclass(frozen=True)
class PreviewResult:
    """The result of a preview.

    Attributes:
        number: image number.
        points: the requested points.
        outlines: one per point with a mask.
        seconds: duration of the preview.
        fault: error message if there are no masks, or None.
    """

    number: int
    points: Points
    outlines: list[Outline]
    seconds: float
    fault: str | None = None


class Preview:
    """Makes masks in a separate thread. A new request replaces a waiting one.

    Args:
        album: the images.
        masks: makes the masks.
        tell: called in the preview thread with each result.
    """

    def __init__(
        self, album: Album, masks: MaskMaker, tell: Callable[[PreviewResult], None]
    ) -> None:
        self.album, self.masks, self.tell = album, masks, tell
        self._request: tuple[int, Points] | None = None
        self._changed = threading.Condition()
        self._ended = False
        threading.Thread(target=self._run, name="preview", daemon=True).start()

    def ask(self, number: int, points: Points) -> None:
        """Requests the masks of an image's points and returns at once."""
        with self._changed:
            self._request = number, points
            self._changed.notify()

    def close(self) -> None:
        """Ends the thread after the current request."""
        with self._changed:
            self._ended = True
            self._changed.notify()

    def find(self, number: int, points: Points) -> PreviewResult:
        """Computes the masks of an image's points in the calling thread; prepares it if none."""
        start = time.perf_counter()
        outlines, fault = [], None
        try:
            outlines = self._outlines(self.album.image(number), points)
        except UserError as error:
            fault = str(error)
        except Exception as error:  # the page stays usable without masks
            fault = f"no masks: {type(error).__name__}: {' '.join(str(error).split())[:200]}"
        return PreviewResult(number, points, outlines, time.perf_counter() - start, fault)

    def _run(self) -> None:
        with suppress(Exception):  # loads the compiled loops early; a later request reports errors
            self.masks(np.zeros((32, 32, 3), np.uint8), _MIDDLE)
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._request is not None or self._ended)
                if self._ended:
                    return
                request, self._request = self._request, None
            if request is not None:
                self.tell(self.find(*request))

    def _outlines(self, image: NDArray[np.uint8], points: Points) -> list[Outline]:
        instances = self.masks(image, points)
        to = np.array([image.shape[1] / instances.shape[1], image.shape[0] / instances.shape[0]])
        ids = points.ids.tolist()
        paths = [_path(instances == k + 1, to) for k in range(len(ids))]
        return [Outline(id, path) for id, path in zip(ids, paths, strict=True) if path]


_MIDDLE = Points(torch.full((1, 2), 16.0), torch.ones(1).long(), torch.zeros(1).long())
"""A point in the middle of a small image, for the warm-up."""


def _path(mask: NDArray[np.bool_], scale: NDArray[Any]) -> str:
    """Returns a mask's outline as an SVG path; each hole is a separate ring."""
    rings = [ring for part in parts_of(mask) for ring in (part.outline, *part.holes)]
    return "".join(_ring(ring, scale) for ring in rings)


def _ring(ring: Ring, scale: NDArray[Any]) -> str:
    corners = cv2.approxPolyDP(ring.astype(np.float32)[:, None], SMOOTH, True)[:, 0]
    if len(corners) < 3:  # the mask has one or two pixels
        corners = ring
    places = (f"{x:.5g} {y:.5g}" for x, y in corners * scale)
    return f"M{'L'.join(places)}Z"
