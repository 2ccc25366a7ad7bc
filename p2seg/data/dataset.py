"""The one training reader: images, points and first semantic maps. No ground-truth mask."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from p2seg.data.compact_lists import PackedPoints
from p2seg.data.images import read_image
from p2seg.data.loader import sample_generator
from p2seg.data.maps import map_path, read_map, restrict_to_classes
from p2seg.data.points import PointSet
from p2seg.data.preflight import FileCheck, failures
from p2seg.data.records import ImageRecord, PackedImages
from p2seg.errors import UserError, check_choice
from p2seg.structures import Labels, Points, Sample

if TYPE_CHECKING:
    from p2seg.data.transforms import Augment


@dataclass(frozen=True)
class Reader:
    """Reads an image of a point set, and its first semantic map.

    Attributes:
        images: folder of the images.
        semantic: folder of the maps.
        num_classes: C.
    """

    images: Path
    semantic: Path
    num_classes: int

    def image(self, record: ImageRecord) -> Tensor:
        """`[3, H, W]` uint8 RGB."""
        array = read_image(self.images / record.file_name, (record.height, record.width))
        return torch.from_numpy(array).permute(2, 0, 1).contiguous()

    def map(self, record: ImageRecord, points: Points) -> Tensor:
        """`[H, W]` int64; classes that the image has no point of are 255."""
        size = (record.height, record.width)
        array = read_map(map_path(self.semantic, record.file_name), size, self.num_classes)
        return torch.from_numpy(restrict_to_classes(array, points.labels.numpy())).long()

    def check(self, record: ImageRecord, points: Points) -> FileCheck:
        """The check that an image and its map can be read."""

        def run() -> None:
            self.image(record)
            self.map(record, points)

        files = self.images / record.file_name, map_path(self.semantic, record.file_name)
        context = (record.file_name, record.height, record.width, self.num_classes)
        return FileCheck(files, context, run)


class PointDataset(Dataset[Sample]):
    """Augmented training samples, each a function of (seed, epoch, index) alone.

    Args:
        points: the images and their points; images without points are left out.
        reader: of images and maps.
        seeder: makes the first instance labels of a whole image from its map, points and image.
        augment: moves image, points and labels together.
        seed: of the augmentation.

    Raises:
        UserError: no image has a point.
    """

    def __init__(
        self,
        points: PointSet,
        reader: Reader,
        seeder: Callable[[Tensor, list[Points], Tensor], Labels],
        augment: Augment,
        seed: int,
    ) -> None:
        images, own = PackedImages.of(points.images), PackedPoints.of(points.points)
        kept = np.flatnonzero(own.counts)
        if not len(kept):
            raise UserError(
                f"none of the {len(points.images)} images of the points file has a point; "
                "there is nothing to train on"
            )
        # arrays alone, so that workers share them
        self.images, self.points = images.taking(kept), own.taking(kept)
        self.reader = reader
        self.seeder = seeder
        self.augment = augment
        self.seed = seed

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, key: tuple[int, int]) -> Sample:
        epoch, index = key
        record, points = self.images[index], self.points[index]
        image = self.reader.image(record)
        first = self.reader.map(record, points)
        labels = self.seeder(first[None], [points], image[None]).of_image(0)
        random = sample_generator(self.seed, epoch, index)
        image, points, labels = self.augment(image, points, labels, random)
        return Sample(record.file_name, image, points, labels)


def usable(
    points: PointSet, reader: Reader, on_error: str, known: Path | None = None
) -> tuple[PointSet, list[str]]:
    """Tries every image and map once, before anything is computed on them.

    Args:
        points: the images and their points.
        reader: of images and maps.
        on_error: `raise` at the first that cannot be used, or `skip` them.
        known: a file of the run that records which files can be read, see `failures`.

    Returns:
        The point set without what cannot be used, and a sentence for each image left out.

    Raises:
        UserError: something cannot be used and `on_error` is `raise`; or nothing is left; or
            `on_error` is neither.
    """
    check_choice("data.on_error", on_error, ("raise", "skip"))
    with_points = np.flatnonzero(PackedPoints.of(points.points).counts).tolist()
    checks = (reader.check(points.images[i], points.points[i]) for i in with_points)
    found = failures(checks, known, stop=on_error != "skip")
    skipped = {i: error for i, error in zip(with_points, found, strict=True) if error is not None}
    kept = [index for index in range(len(points.images)) if index not in skipped]
    reasons = list(skipped.values())
    if reasons and not kept:
        raise UserError(f"all {len(reasons)} images were skipped; the first: {reasons[0]}")
    return points.taking(kept), reasons
