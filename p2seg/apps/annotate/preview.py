"""Masks of the points as they are clicked: quick ones, at a limited size, beside the clicking."""

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
from p2seg.data.network_input import NetworkInput, Size, moved_points, resized_image, resized_labels
from p2seg.errors import UserError
from p2seg.formats.masks.polygons import Ring, parts_of
from p2seg.pseudo.labeler import Labeler
from p2seg.pseudo.network import NetworkLabeler
from p2seg.semantic.grabcut import GrabCut
from p2seg.structures import Points

SMOOTH = 1.0
"""Pixels of the small image by which an outline may be simplified."""


@dataclass(frozen=True)
class Outline:
    """The mask of a point. Attributes: the point's id; an SVG path in pixels of the image."""

    id: int
    path: str


@dataclass(frozen=True)
class Found:
    """What a preview has found.

    Attributes:
        number: of the image.
        points: that were asked for.
        outlines: of those that have a mask.
        seconds: that it took.
        fault: why there is none, in one sentence.
    """

    number: int
    points: Points
    outlines: list[Outline]
    seconds: float
    fault: str | None = None


class Preview:
    """Makes masks in a thread of its own; of the requests that wait only the last one counts.

    Args:
        album: the images.
        labeler: gives every pixel of the first map an owner. A network sees an image at the size
            that it sees at export.
        side: the most pixels of the long side at which GrabCut and the seeds work.
        tell: called from that thread with what was found.
    """

    def __init__(
        self, album: Album, labeler: Labeler, side: int, tell: Callable[[Found], None]
    ) -> None:
        self.album, self.labeler, self.tell = album, labeler, tell
        self.small = NetworkInput(long_side=side)
        self._wanted: tuple[int, Points] | None = None
        self._changed = threading.Condition()
        self._ended = False
        threading.Thread(target=self._run, name="preview", daemon=True).start()

    def ask(self, number: int, points: Points) -> None:
        """Asks for the masks of an image's points; returns at once."""
        with self._changed:
            self._wanted = number, points
            self._changed.notify()

    def close(self) -> None:
        """Ends the thread after what it is at."""
        with self._changed:
            self._ended = True
            self._changed.notify()

    def find(self, number: int, points: Points) -> Found:
        """The masks of an image's points, in this thread."""
        start = time.perf_counter()
        outlines, fault = [], None
        try:
            if len(points):
                outlines = self._outlines(self.album.image(number), points)
        except UserError as error:
            fault = str(error)
        except Exception as error:  # a page without masks is better than none
            fault = f"no masks: {type(error).__name__}: {' '.join(str(error).split())[:200]}"
        return Found(number, points, outlines, time.perf_counter() - start, fault)

    def _run(self) -> None:
        with suppress(Exception):  # loads compiled loops early; a request says what is wrong
            self._masks(np.zeros((32, 32, 3), np.uint8), _MIDDLE)
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._wanted is not None or self._ended)
                if self._ended:
                    return
                wanted, self._wanted = self._wanted, None
            if wanted is not None:
                self.tell(self.find(*wanted))

    def _outlines(self, image: NDArray[np.uint8], points: Points) -> list[Outline]:
        own, size = (image.shape[0], image.shape[1]), self._size(image)
        instances = self._masks(image, points)
        to = np.array([own[1] / size[1], own[0] / size[0]])
        ids = points.ids.tolist()
        paths = [_path(instances == k + 1, to) for k in range(len(ids))]
        return [Outline(id, path) for id, path in zip(ids, paths, strict=True) if path]

    def _size(self, image: NDArray[np.uint8]) -> Size:
        """The size that masks of an image are made at."""
        labeler = self.labeler
        rule = labeler.input if isinstance(labeler, NetworkLabeler) else self.small
        return rule.size_of(image.shape[0], image.shape[1])

    def _masks(self, image: NDArray[np.uint8], points: Points) -> NDArray[np.int64]:
        """An instance map at `_size`: 0 none, k + 1 the k-th point."""
        own, size = (image.shape[0], image.shape[1]), self._size(image)
        small = self.small.size_of(*own)
        tensor = torch.tensor(image).movedim(2, 0)
        drawn = resized_image(tensor, small).movedim(0, 2).contiguous().numpy()
        near = moved_points(points, own, small)
        first = GrabCut().segment(drawn, near.pixels.numpy(), near.labels.numpy())
        found = self.labeler(
            resized_image(tensor, size).contiguous(),
            moved_points(points, own, size),
            resized_labels(torch.from_numpy(first.astype(np.int64)), size),
        )
        instances: NDArray[np.int64] = found.instances.cpu().numpy()
        return instances


_MIDDLE = Points(torch.full((1, 2), 16.0), torch.ones(1).long(), torch.zeros(1).long())
"""A point on a small image."""


def _path(mask: NDArray[np.bool_], scale: NDArray[Any]) -> str:
    """A mask's outline as an SVG path, holes as rings of their own."""
    rings = [ring for part in parts_of(mask) for ring in (part.outline, *part.holes)]
    return "".join(_ring(ring, scale) for ring in rings)


def _ring(ring: Ring, scale: NDArray[Any]) -> str:
    corners = cv2.approxPolyDP(ring.astype(np.float32)[:, None], SMOOTH, True)[:, 0]
    if len(corners) < 3:  # a pixel or two
        corners = ring
    places = (f"{x:.5g} {y:.5g}" for x, y in corners * scale)
    return f"M{'L'.join(places)}Z"
