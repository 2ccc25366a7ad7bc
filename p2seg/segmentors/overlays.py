"""Pictures of detections: one PNG per image, one video per video."""

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
"""Minimum and maximum pixels of the long side of a picture."""


class Overlays:
    """A folder of pictures, used as a context manager.

    Args:
        folder: output folder.
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
        # The name keeps the suffix, because a.jpg and a.png may be in the same folder.
        with atomic_path(self.folder / f"{frame.record.file_name}.png") as temporary:
            Image.fromarray(picture).save(temporary)

    def _drawn(self, frame: Frame, detections: list[Detection]) -> Picture:
        smallest, largest = SIDES
        side = max(frame.image.shape)
        coarse = max(1, side // largest)  # 100 masks of a large photograph can need gigabytes
        return draw_instances(
            fit(frame.image, min(largest, max(smallest, side))),
            [decode(each.rle)[::coarse, ::coarse] for each in detections],
            [each.label for each in detections],
            [f"{self.categories[each.label - 1].name} {each.score:.2f}" for each in detections],
        )

    def _writer_of(self, source: Source, rate: float) -> VideoWriter:
        """The video writer of a source; closes that of the previous source."""
        if self._writer is None or source is not self._source:
            self._video.close()
            name = source.name if source.path.suffix.lower() == ".mp4" else f"{source.name}.mp4"
            self._writer = self._video.enter_context(VideoWriter(self.folder / name, rate))
            self._source = source
        return self._writer
