"""Training samples of segmentation models from pseudo masks or any COCO annotation file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.ops import masks_to_boxes

from p2seg.data.coco import Instance, InstanceSet
from p2seg.data.images import read_image
from p2seg.data.instances import PackedInstances
from p2seg.data.loader import sample_generator
from p2seg.data.preflight import FileCheck, failures
from p2seg.data.records import ImageRecord, PackedImages
from p2seg.errors import UserError
from p2seg.segmentors.augment import ImageAndMasks, RandomResize, paste_instances
from p2seg.segmentors.weights import InstanceWeights
from p2seg.structures import mapped


@dataclass(frozen=True)
class InstanceTarget:
    """The K >= 0 instances of one image.

    Attributes:
        boxes: `[K, 4]` int64, x0, y0, x1, y1 in pixels; coordinates are pixel edges, so sides are
            at least 1.
        labels: `[K]` int64, class indices 1..C.
        masks: `[K, H, W]` uint8, 0 or 1.
        weights: `[K]` float32, weight in the losses of class and box; 0: ignored, neither object
            nor background.
        mask_weights: `[K]` float32, weight in the loss of the mask.
    """

    boxes: Tensor
    labels: Tensor
    masks: Tensor
    weights: Tensor
    mask_weights: Tensor


@dataclass(frozen=True)
class InstanceBatch:
    """B training images of different sizes, and their instances.

    Attributes:
        names: file names.
        images: images `[3, H, W]` uint8 RGB, each with its own size.
        targets: targets of the images.
    """

    names: list[str]
    images: list[Tensor]
    targets: list[InstanceTarget]

    def pin_memory(self) -> InstanceBatch:
        """Copies the batch to page-locked memory for asynchronous copies to a GPU."""
        return mapped(self, Tensor.pin_memory)

    @staticmethod
    def of(samples: list[tuple[str, Tensor, InstanceTarget]]) -> InstanceBatch:
        """Collates samples without resizing or padding."""
        names, images, targets = (list(each) for each in zip(*samples, strict=True))
        return InstanceBatch(names, images, targets)


def target_of(
    masks: Tensor, labels: Tensor, weights: tuple[Tensor, Tensor] | None = None
) -> InstanceTarget:
    """The target of all non-empty masks.

    Args:
        masks: `[K, H, W]` uint8.
        labels: `[K]` int64.
        weights: weights of class and box and weights of the mask, each `[K]` float32; None: 1.
    """
    own, mask_own = weights or (torch.ones(len(masks)), torch.ones(len(masks)))
    nonempty = masks.bool().flatten(1).any(1)
    masks, labels, own, mask_own = (each[nonempty] for each in (masks, labels, own, mask_own))
    boxes = masks_to_boxes(masks).long()
    boxes[:, 2:] += 1  # from the index of the last pixel to its outer edge
    return InstanceTarget(boxes, labels, masks, own, mask_own)


class InstanceDataset(Dataset[tuple[str, Tensor, InstanceTarget]]):
    """Training samples of an annotation file, determined by (seed, epoch, index).

    Images without instances are used as negatives. Crowd regions and empty instances are dropped.
    Rejected masks are ignored: they are neither objects nor background.

    Args:
        instances: the annotations.
        folder: folder of the images.
        augment: resizes and flips an image and its instances.
        seed: random seed of the augmentation.
        weights: weight of each instance; None: all 1.
        copy_paste: share of the samples into which instances of another image are pasted.

    Raises:
        UserError: no image has an instance.
    """

    def __init__(
        self,
        instances: InstanceSet,
        folder: Path,
        augment: RandomResize,
        seed: int,
        *,
        weights: InstanceWeights | None = None,
        copy_paste: float = 0.0,
    ) -> None:
        images = PackedImages.of(instances.images)
        own = PackedInstances.of(instances.instances, images.sides).without_crowds()
        rejected = own.rejected
        if rejected.all():
            reason = f" (all {len(rejected)} were rejected)" if len(rejected) else ""
            raise UserError(
                f"none of the {len(own)} images of the annotation file has an instance{reason}; "
                "give a file with instances"
            )
        self.images, self.instances = images, own  # packed arrays, whose memory workers share
        self.folder = folder
        self.augment = augment
        self.seed = seed
        self.weights = weights or InstanceWeights()
        self.mean = self.weights.mean(own.scores[~rejected].tolist())
        self.copy_paste = copy_paste

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, key: tuple[int, int]) -> tuple[str, Tensor, InstanceTarget]:
        epoch, index = key
        record, instances = self.images[index], list(self.instances[index])
        random = sample_generator(self.seed, epoch, index)
        image, masks = self._augmented(index, instances, random)
        if self.copy_paste > 0 and bool(torch.rand((), generator=random) < self.copy_paste):
            other = int(torch.randint(len(self), (), generator=random))
            sources = [
                each
                for each in self.instances[other]
                if not each.default_box and each.review != "rejected"
            ]
            over = self._augmented(other, sources, random)
            (image, masks), selected = paste_instances((image, masks), over, random)
            instances = [*instances, *(sources[k] for k in selected.tolist())]
        labels = torch.tensor([each.label for each in instances], dtype=torch.int64)
        target = target_of(masks, labels, self.weights.of(instances, self.mean))
        return record.file_name, image, target

    def _augmented(
        self, index: int, instances: Sequence[Instance], random: torch.Generator
    ) -> ImageAndMasks:
        record = self.images[index]
        array = read_image(self.folder / record.file_name, (record.height, record.width))
        return self.augment(torch.from_numpy(array).permute(2, 0, 1), instances, random)


def usable(
    instances: InstanceSet, images: Path, on_error: str, known: Path | None = None
) -> tuple[InstanceSet, list[str]]:
    """Reads every image once before the training starts.

    Args:
        instances: the annotations.
        images: folder of the images.
        on_error: `raise` at the first unreadable image, or `skip` unreadable images.
        known: a file that records which images were readable before, see `failures`.

    Returns:
        The annotations without unreadable images, and an error message for each of these.

    Raises:
        UserError: an image is unreadable and `on_error` is `raise`, or all are unreadable.
    """
    checks = (_check(images, record) for record in instances.images)
    errors = list(failures(checks, known, stop=on_error != "skip"))
    skipped = [error for error in errors if error is not None]
    if skipped and len(skipped) == len(errors):
        raise UserError(f"all {len(skipped)} images were skipped; the first: {skipped[0]}")
    return instances.subset([k for k, error in enumerate(errors) if error is None]), skipped


def _check(images: Path, record: ImageRecord) -> FileCheck:
    path, size = images / record.file_name, (record.height, record.width)
    return FileCheck((path,), (record.file_name, *size), lambda: read_image(path, size))
