"""The one training reader: images, points and first semantic maps. No ground-truth mask."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import Dataset

from p2seg.data.coco import ImageRecord
from p2seg.data.images import read_image
from p2seg.data.loader import sample_generator
from p2seg.data.maps import map_path, read_map, restrict_to_classes
from p2seg.data.points import PointSet
from p2seg.data.transforms import Augment
from p2seg.errors import UserError, check_choice
from p2seg.structures import Labels, Points, Sample


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
        pairs = zip(points.images, points.points, strict=True)
        self.items = [(record, own) for record, own in pairs if len(own)]
        if not self.items:
            raise UserError(
                f"none of the {len(points.images)} images of the points file has a point; "
                "there is nothing to train on"
            )
        self.reader = reader
        self.seeder = seeder
        self.augment = augment
        self.seed = seed

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, key: tuple[int, int]) -> Sample:
        epoch, index = key
        record, points = self.items[index]
        image = self.reader.image(record)
        first = self.reader.map(record, points)
        labels = self.seeder(first[None], [points], image[None]).of_image(0)
        random = sample_generator(self.seed, epoch, index)
        image, points, labels = self.augment(image, points, labels, random)
        return Sample(record.file_name, image, points, labels)


def usable(points: PointSet, reader: Reader, on_error: str) -> tuple[PointSet, list[str]]:
    """Tries every image and map once, before anything is computed on them.

    Args:
        points: the images and their points.
        reader: of images and maps.
        on_error: `raise` at the first that cannot be used, or `skip` them.

    Returns:
        The point set without what cannot be used, and a sentence for each image left out.

    Raises:
        UserError: something cannot be used and `on_error` is `raise`; or nothing is left; or
            `on_error` is neither.
    """
    check_choice("data.on_error", on_error, ("raise", "skip"))
    kept: list[int] = []
    skipped: list[str] = []
    for index, (record, own) in enumerate(zip(points.images, points.points, strict=True)):
        try:
            if len(own):
                reader.image(record)
                reader.map(record, own)
        except UserError as error:
            if on_error != "skip":
                raise
            skipped.append(str(error))
        else:
            kept.append(index)
    if skipped and not kept:
        raise UserError(f"all {len(skipped)} images were skipped; the first: {skipped[0]}")
    left = PointSet(
        images=[points.images[i] for i in kept],
        categories=points.categories,
        points=[points.points[i] for i in kept],
        info=points.info,
    )
    return left, skipped
