"""Images and instances as a segmentor learns them: pseudo masks, or any instances file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.ops import masks_to_boxes
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from p2seg.data.coco import ImageRecord, Instance, InstanceSet, decode
from p2seg.data.images import read_image
from p2seg.data.loader import sample_generator
from p2seg.errors import UserError
from p2seg.structures import mapped

READERS = 8
"""Threads that try images; Pillow decodes outside Python's lock."""


@dataclass(frozen=True)
class InstanceTarget:
    """The instances of one image, K of them, possibly none.

    Attributes:
        boxes: `[K, 4]` int64, x0, y0, x1, y1 in pixels, edge to edge: at least one pixel wide.
        labels: `[K]` int64, class indices 1..C.
        masks: `[K, H, W]` uint8, 0 or 1.
    """

    boxes: Tensor
    labels: Tensor
    masks: Tensor


@dataclass(frozen=True)
class InstanceBatch:
    """Training images of different sizes, and their instances.

    Attributes:
        names: B file names.
        images: B of `[3, H, W]` uint8 RGB, each of its own size.
        targets: B of `InstanceTarget`.
    """

    names: list[str]
    images: list[Tensor]
    targets: list[InstanceTarget]

    def pin_memory(self) -> InstanceBatch:
        """In page-locked memory, for copies to a GPU that do not wait; the loader asks for it."""
        return mapped(self, Tensor.pin_memory)

    @staticmethod
    def of(samples: list[tuple[str, Tensor, InstanceTarget]]) -> InstanceBatch:
        """Puts samples together; the sizes stay as they are."""
        names, images, targets = (list(each) for each in zip(*samples, strict=True))
        return InstanceBatch(names, images, targets)


def resized(height: int, width: int, short_side: float, long_side: float) -> tuple[int, int]:
    """(height, width) with the short side at `short_side`, or the long one at `long_side`.

    The proportions are kept, but each side has at least one pixel.
    """
    scale = min(short_side / min(height, width), long_side / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


@dataclass(frozen=True)
class RandomResize:
    """The augmentation of a segmentor: scale and flip.

    Attributes:
        short_side: pixels of the image's short side at scale 1.
        long_side: the most pixels of its long side at scale 1.
        scale: range of the random scale.
        flip: horizontal flips, half of the time.
    """

    short_side: int
    long_side: int
    scale: Sequence[float] = (1.0, 1.0)
    flip: bool = True

    def __call__(
        self, image: Tensor, instances: list[Instance], random: torch.Generator
    ) -> tuple[Tensor, InstanceTarget]:
        """Augments one image.

        Args:
            image: `[3, H, W]` uint8.
            instances: of the image.
            random: draws everything.

        Returns:
            The image in its new size, and what of the instances is still seen.
        """
        flipped = self.flip and bool(torch.rand((), generator=random) < 0.5)
        low, high = self.scale
        scale = low + (high - low) * float(torch.rand((), generator=random))
        height, width = image.shape[1:]
        size = resized(height, width, self.short_side * scale, self.long_side * scale)
        image = F.resize(image, list(size), antialias=True)
        masks = torch.zeros((len(instances), *size), dtype=torch.uint8)
        for k, instance in enumerate(instances):  # one by one: 300 masks of a large image are GBs
            mask = torch.from_numpy(decode(instance)).to(torch.uint8)
            masks[k] = F.resize(mask[None], list(size), v2.InterpolationMode.NEAREST_EXACT)[0]
        if flipped:
            image, masks = F.horizontal_flip(image), F.horizontal_flip(masks)
        labels = torch.tensor([each.label for each in instances], dtype=torch.int64)
        return image, target_of(masks, labels)


def target_of(masks: Tensor, labels: Tensor) -> InstanceTarget:
    """The target of some masks, without those that have no pixel.

    Args:
        masks: `[K, H, W]` uint8.
        labels: `[K]` int64.
    """
    seen = masks.bool().flatten(1).any(1)
    masks, labels = masks[seen], labels[seen]
    boxes = masks_to_boxes(masks).long()
    boxes[:, 2:] += 1  # from the last pixel to its far edge: a pixel is a box of side 1
    return InstanceTarget(boxes, labels, masks)


class InstanceDataset(Dataset[tuple[str, Tensor, InstanceTarget]]):
    """Training samples of an instances file, each a function of (seed, epoch, index) alone.

    Images without instances are kept as negatives; crowd regions and instances without a pixel
    are left out. Default boxes are instances like any other.

    Args:
        instances: of the file.
        folder: of the images.
        augment: resizes and flips image and instances together.
        seed: of the augmentation.

    Raises:
        UserError: no image has an instance.
    """

    def __init__(
        self, instances: InstanceSet, folder: Path, augment: RandomResize, seed: int
    ) -> None:
        own = [[each for each in group if not each.crowd] for group in instances.instances]
        if not any(own):
            raise UserError(
                f"none of the {len(own)} images of the instances file has an instance; "
                "there is nothing to train on"
            )
        self.items = list(zip(instances.images, own, strict=True))
        self.folder = folder
        self.augment = augment
        self.seed = seed

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, key: tuple[int, int]) -> tuple[str, Tensor, InstanceTarget]:
        epoch, index = key
        record, instances = self.items[index]
        array = read_image(self.folder / record.file_name, (record.height, record.width))
        image = torch.from_numpy(array).permute(2, 0, 1)
        random = sample_generator(self.seed, epoch, index)
        return record.file_name, *self.augment(image, instances, random)


def usable(instances: InstanceSet, images: Path, on_error: str) -> tuple[InstanceSet, list[str]]:
    """Tries every image once, before hours are spent on the others.

    Args:
        instances: of a file.
        images: the folder of its images.
        on_error: `raise` at the first that cannot be read, or `skip` them.

    Returns:
        The set without those images, and a sentence for each.

    Raises:
        UserError: an image cannot be read and `on_error` is `raise`; or none is left.
    """
    errors = list(_errors(instances.images, images, stop=on_error != "skip"))
    skipped = [error for error in errors if error is not None]
    if skipped and len(skipped) == len(errors):
        raise UserError(f"all {len(skipped)} images were skipped; the first: {skipped[0]}")
    kept = [k for k, error in enumerate(errors) if error is None]
    left = replace(
        instances,
        images=[instances.images[k] for k in kept],
        instances=[instances.instances[k] for k in kept],
    )
    return left, skipped


def _errors(records: list[ImageRecord], images: Path, *, stop: bool) -> Iterator[str | None]:
    """What is wrong with each image, in their order; None where nothing is."""

    def tried(record: ImageRecord) -> str | None:
        try:
            read_image(images / record.file_name, (record.height, record.width))
        except UserError as error:
            return str(error)
        return None

    with ThreadPoolExecutor(READERS) as pool:
        for error in pool.map(tried, records):
            if error is not None and stop:
                pool.shutdown(wait=False, cancel_futures=True)
                raise UserError(error)
            yield error
