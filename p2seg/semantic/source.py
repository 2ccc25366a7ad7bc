"""The interface of sources of initial semantic maps and of mask candidates."""

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

Result_co = TypeVar("Result_co", covariant=True)


@dataclass(frozen=True)
class MapTask:
    """One image and its clicks. It has no tensors, as it is pickled for worker processes.

    Attributes:
        record: the image's record.
        image: the image's file.
        yx: `[K, 2]` int64, the clicked pixels.
        labels: `[K]` int64, classes 1..C of the clicks.
        ids: `[K]` int64, annotation ids of the clicks.
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


class Source(Protocol[Result_co]):
    """A source of initial semantic maps, or of mask candidates, pickled for worker processes."""

    @property
    def name(self) -> str:
        """Name in the manifest: "grabcut", "png", "oracle", ..."""

    @property
    def parameters(self) -> dict[str, Any]:
        """Settings that affect the result besides the task and `inputs`, as JSON values."""

    def inputs(self, task: MapTask) -> list[Path]:
        """The input files of a result. A change of one of them makes the result outdated."""

    def __call__(self, task: MapTask) -> Result_co:
        """The result of an image; a map is `[H, W]` uint8: 0 background, 1..C, 255 ignored.

        Raises:
            UserError: this image is not usable.
        """


@dataclass(frozen=True)
class ImageSource(ABC):
    """A source of semantic maps from the image and its clicks.

    The fields of a subclass are its `parameters`.
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
            `[H, W]` uint8: 0 background, 1..C, 255 ignored. Without clicks, all is background. A
            clicked pixel has the class of its first click.
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
        """`segment` for at least one click. The clicked pixels may have any class."""
