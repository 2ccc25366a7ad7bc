"""Training data set: images, points and initial semantic maps, without ground-truth masks."""

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
    """Reads an image of a point set, and its initial semantic map.

    Attributes:
        images: folder of the images.
        semantic: folder of the initial semantic maps.
        num_classes: number of classes C.
    """

    images: Path
    semantic: Path
    num_classes: int

    def image(self, record: ImageRecord) -> Tensor:
        """Returns the image, `[3, H, W]` uint8 RGB."""
        array = read_image(self.images / record.file_name, (record.height, record.width))
        return torch.from_numpy(array).permute(2, 0, 1).contiguous()

    def map(self, record: ImageRecord, points: Points) -> Tensor:
        """Returns the map, `[H, W]` int64; classes without a point in the image become 255."""
        size = (record.height, record.width)
        array = read_map(map_path(self.semantic, record.file_name), size, self.num_classes)
        return torch.from_numpy(restrict_to_classes(array, points.labels.numpy())).long()

    def check(self, record: ImageRecord, points: Points) -> FileCheck:
        """Returns the check that an image and its map can be read."""

        def run() -> None:
            self.image(record)
            self.map(record, points)

        files = self.images / record.file_name, map_path(self.semantic, record.file_name)
        context = (record.file_name, record.height, record.width, self.num_classes)
        return FileCheck(files, context, run)


class PointDataset(Dataset[Sample]):
    """Augmented training samples; each depends only on (seed, epoch, index).

    Args:
        points: the images and their points; images without points are skipped.
        reader: reads images and maps.
        seeder: computes the initial instance labels of an image from its map, points and image.
        augment: transforms image, points and labels together.
        seed: random seed of the augmentation.

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
        images, groups = PackedImages.of(points.images), PackedPoints.of(points.points)
        rows = np.flatnonzero(groups.counts)
        if not len(rows):
            raise UserError(
                f"none of the {len(points.images)} images of the points file has a point; "
                "add points to train on"
            )
        # only arrays, because workers share their memory
        self.images, self.points = images.subset(rows), groups.subset(rows)
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
        semantic = self.reader.map(record, points)
        labels = self.seeder(semantic[None], [points], image[None]).of_image(0)
        random = sample_generator(self.seed, epoch, index)
        image, points, labels = self.augment(image, points, labels, random)
        return Sample(record.file_name, image, points, labels)


def readable_subset(
    points: PointSet, reader: Reader, on_error: str, record: Path | None = None
) -> tuple[PointSet, list[str]]:
    """Reads every image that has points, and its map, once before training starts.

    Args:
        points: the images and their points.
        reader: reads images and maps.
        on_error: `raise` the first error, or `skip` images with an error.
        record: a file of the run that stores which files can be read, see `failures`.

    Returns:
        The point set without the skipped images, and one sentence for each of them.

    Raises:
        UserError: a file cannot be read and `on_error` is `raise`; or all images are skipped; or
            `on_error` is neither `raise` nor `skip`.
    """
    check_choice("data.on_error", on_error, ("raise", "skip"))
    with_points = np.flatnonzero(PackedPoints.of(points.points).counts).tolist()
    checks = (reader.check(points.images[i], points.points[i]) for i in with_points)
    errors = failures(checks, record, stop=on_error != "skip")
    skipped = {i: error for i, error in zip(with_points, errors, strict=True) if error is not None}
    indices = [index for index in range(len(points.images)) if index not in skipped]
    reasons = list(skipped.values())
    if reasons and not indices:
        raise UserError(f"all {len(reasons)} images were skipped; the first: {reasons[0]}")
    return points.subset(indices), reasons
