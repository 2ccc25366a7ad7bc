"""What every source of first semantic maps, or of candidates for them, is given and must say."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from p2seg.data.coco import ImageRecord
from p2seg.data.images import read_image
from p2seg.data.maps import SemanticMap
from p2seg.structures import Points

Made_co = TypeVar("Made_co", covariant=True)


@dataclass(frozen=True)
class MapTask:
    """One image whose map is to be made. No tensors: it travels to worker processes.

    Attributes:
        record: the image.
        image: its file.
        yx: `[K, 2]` int64, the pixels clicked.
        labels: `[K]` int64, their classes 1..C.
        ids: `[K]` int64, their annotation ids.
        classes: the C names.
    """

    record: ImageRecord
    image: Path
    yx: NDArray[np.int64]
    labels: NDArray[np.int64]
    ids: NDArray[np.int64]
    classes: tuple[str, ...]

    @staticmethod
    def of(record: ImageRecord, points: Points, folder: Path, classes: tuple[str, ...]) -> MapTask:
        """The task of an image below `folder` and its points."""
        return MapTask(
            record=record,
            image=folder / record.file_name,
            yx=points.pixels.numpy(),
            labels=points.labels.numpy(),
            ids=points.ids.numpy(),
            classes=classes,
        )

    @property
    def size(self) -> tuple[int, int]:
        """(height, width), pixels."""
        return self.record.height, self.record.width


class Source(Protocol[Made_co]):
    """Makes a thing of every image: its first semantic map, or the candidates of its points.

    It is pickled once for every worker process.
    """

    @property
    def name(self) -> str:
        """What the manifest calls it: "grabcut", "png", "oracle", ..."""

    @property
    def parameters(self) -> dict[str, Any]:
        """All that decides what is made besides the task and `inputs`, as JSON can hold it."""

    def inputs(self, task: MapTask) -> list[Path]:
        """The files a thing is made of; it is made again when one of them changes."""

    def __call__(self, task: MapTask) -> Made_co:
        """What is made of an image; a map is `[H, W]` uint8: 0 background, 1..C, 255 ignored.

        Raises:
            UserError: the image cannot be used; the others may be.
        """


@dataclass(frozen=True)
class ImageSource(ABC):
    """A source of semantic maps that needs nothing but the image and its clicks.

    The fields of a subclass are the parameters of its maps.
    """

    name = ""

    @property
    def parameters(self) -> dict[str, Any]:
        return asdict(self)

    def inputs(self, task: MapTask) -> list[Path]:
        return [task.image]

    def __call__(self, task: MapTask) -> SemanticMap:
        return self.segment(read_image(task.image, task.size), task.yx, task.labels)

    def segment(
        self, image: NDArray[np.uint8], yx: NDArray[np.int64], labels: NDArray[np.int64]
    ) -> SemanticMap:
        """The map of an image.

        Args:
            image: `[H, W, 3]` uint8 RGB.
            yx: `[K, 2]` int64, the clicked pixels.
            labels: `[K]` int64, 1..C.

        Returns:
            `[H, W]` uint8: 0 background, 1..C, 255 ignored. It is all background without clicks.
            A clicked pixel has the class of its click; of several clicks the first counts.
        """
        if not len(yx):
            return np.zeros(image.shape[:2], np.uint8)
        semantic = self._segment(image, yx, labels)
        _, first = np.unique(yx, axis=0, return_index=True)  # of each pixel's clicks
        semantic[tuple(yx[first].T)] = labels[first]
        return semantic

    @abstractmethod
    def _segment(
        self, image: NDArray[np.uint8], yx: NDArray[np.int64], labels: NDArray[np.int64]
    ) -> SemanticMap:
        """As `segment`, with at least one click; the clicked pixels may have any class."""
