"""Pictures of what was found: a PNG an image, a video of a video."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

from PIL import Image

from p2seg.apps.report.pictures import Picture, draw_instances, fit
from p2seg.data.coco import Category
from p2seg.data.image_sources import Frame, Source
from p2seg.data.rle import decode
from p2seg.data.video import VideoWriter
from p2seg.runtime.files import atomic_path
from p2seg.segmentors.detection import Detection

SIDES = (512, 1600)
"""Least and most pixels of the long side of a picture."""


class Overlays:
    """A folder of pictures, drawn as the images come; used as a context.

    Args:
        folder: to write to.
        categories: class k is `categories[k - 1]`.
    """

    def __init__(self, folder: Path, categories: list[Category]) -> None:
        self.folder = folder
        self.categories = categories
        self._source: Source | None = None
        self._video = ExitStack()
        self._writer: VideoWriter | None = None

    def __enter__(self) -> Overlays:
        return self

    def __exit__(self, *error: Any) -> None:
        self._video.__exit__(*error)

    def draw(self, frame: Frame, detections: list[Detection]) -> None:
        """Draws detections over their image."""
        picture = self._drawn(frame, detections)
        if frame.rate is not None:
            self._writer_of(frame.source, frame.rate).write(picture)
            return
        # the whole name stays: a.jpg and a.png may lie side by side
        with atomic_path(self.folder / f"{frame.record.file_name}.png") as temporary:
            Image.fromarray(picture).save(temporary)

    def _drawn(self, frame: Frame, detections: list[Detection]) -> Picture:
        smallest, largest = SIDES
        side = max(frame.image.shape)
        coarse = max(1, side // largest)  # a hundred whole masks of a large photograph would be GBs
        return draw_instances(
            fit(frame.image, min(largest, max(smallest, side))),
            [decode(found.rle)[::coarse, ::coarse] for found in detections],
            [found.label for found in detections],
            [f"{self.categories[found.label - 1].name} {found.score:.2f}" for found in detections],
        )

    def _writer_of(self, source: Source, rate: float) -> VideoWriter:
        """The video of a source; that of the source before is finished."""
        if self._writer is None or source is not self._source:
            self._video.close()
            name = source.name if source.path.suffix.lower() == ".mp4" else f"{source.name}.mp4"
            self._writer = self._video.enter_context(VideoWriter(self.folder / name, rate))
            self._source = source
        return self._writer
