"""The inputs of a gallery: masks, their images, and optional ground truth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from p2seg.apps.gallery.stages import Stages
from p2seg.data import rle as codec
from p2seg.data.coco import Category, Instance, InstanceSet
from p2seg.data.records import ImageRecord
from p2seg.errors import UserError
from p2seg.evaluation.voc import iou_matrix

CLICKED = 0.9
"""Minimum share of clicks inside the true box of their id, if ids are to match objects."""


@dataclass(frozen=True)
class Truth:
    """Ground truth in the order of the masks' images.

    Attributes:
        instances: per image; None if the ground truth does not have the image.
        by_id: if true, a mask is compared with the true mask of its id, as for pseudo masks. If
            false, it is compared with the true mask of its class that it overlaps most.
    """

    instances: list[Sequence[Instance] | None]
    by_id: bool

    def compared(
        self, place: int, masks: Sequence[Instance]
    ) -> tuple[list[float | None], list[int]]:
        """Compares the masks of an image with its true masks.

        Args:
            place: index of the image.
            masks: the masks of the image.

        Returns:
            The IoU per mask, None without ground truth. Per true mask, the index of the mask that
            is compared with it, or -1.
        """
        truths = self.instances[place]
        if truths is None:
            return [None] * len(masks), []
        table = iou_matrix(masks, truths)
        ious: list[float | None] = []
        owners = [-1] * len(truths)
        for k, mask in enumerate(masks):
            candidates = [
                t
                for t, truth in enumerate(truths)
                if truth.label == mask.label and (truth.id == mask.id or not self.by_id)
            ]
            best = max(candidates, key=lambda t: table[k, t], default=None)
            ious.append(0.0 if best is None else float(table[k, best]))
            if best is not None and (table[k, best] > 0 or self.by_id):
                other = owners[best]
                if other < 0 or table[k, best] > table[other, best]:
                    owners[best] = k
        return ious, owners


@dataclass(frozen=True)
class Material:
    """The inputs of a gallery.

    Attributes:
        pred: the masks; ids are at least 0.
        images: folder of the images.
        clicked: true for pseudo masks, which have clicks; false for detections of a trained model.
        truth: ground truth for the comparison, or None.
        stages: the steps before the masks, or None.
    """

    pred: InstanceSet
    images: Path
    clicked: bool
    truth: Truth | None = None
    stages: Stages | None = None


def truth_of(gt: InstanceSet, pred: InstanceSet, clicked: bool) -> Truth:
    """Matches ground truth to masks: images by file name or id, classes by name.

    Ids of two files can be equal by chance. So masks and true masks are matched by id only if the
    clicks lie in the true boxes.

    Args:
        gt: the ground truth.
        pred: the masks.
        clicked: whether they are pseudo masks; ids of detections have no meaning.

    Raises:
        UserError: an image id means another image there, or a class of the masks is missing.
    """
    label_of = _labels(gt.categories, pred.categories)
    place_of = _places(gt.images, pred.images)
    matched: list[Sequence[Instance] | None] = []
    by_id, inside, count = clicked, 0, 0
    for image, masks in zip(pred.images, pred.instances, strict=True):
        place = place_of(image)
        if place is None:
            matched.append(None)
            continue
        _check_same(gt.images[place], image)
        truths = [
            replace(each, label=label_of[each.label])
            for each in gt.instances[place]
            if not each.crowd and each.label in label_of
        ]
        matched.append(truths)
        known = {truth.id: truth for truth in truths}
        by_id = by_id and all(
            mask.id in known and known[mask.id].label == mask.label for mask in masks
        )
        if by_id:
            inside += sum(_is_clicked(known[mask.id], mask) for mask in masks)
            count += len(masks)
    if all(each is None for each in matched):
        raise UserError("gt has none of the images of the masks; give their ground truth")
    return Truth(matched, by_id and inside >= CLICKED * count)


def _places(
    true: Sequence[ImageRecord], predicted: Sequence[ImageRecord]
) -> Callable[[ImageRecord], int | None]:
    """Maps each predicted image to its index in the ground truth: by file name, else by id."""
    names = {image.file_name: k for k, image in enumerate(true)}
    ids = {image.id: k for k, image in enumerate(true)}
    if any(image.file_name in names for image in predicted):
        return lambda image: names.get(image.file_name)
    return lambda image: ids.get(image.id)


def _is_clicked(truth: Instance, mask: Instance) -> bool:
    if mask.point is None:
        return False
    x, y, width, height = codec.box(truth.rle)
    return y <= mask.point[0] <= y + height and x <= mask.point[1] <= x + width


def _labels(true: Sequence[Category], predicted: Sequence[Category]) -> dict[int, int]:
    """Maps class numbers of the ground truth to those of the masks, for common classes."""
    names = {category.name: label for label, category in enumerate(true, start=1)}
    missing = [category.name for category in predicted if category.name not in names]
    if missing:
        raise UserError(
            f"category {missing[0]} of the masks is missing in gt, which has "
            f"{', '.join(list(names)[:5])}; give ground truth with the classes of the masks"
        )
    return {names[category.name]: label for label, category in enumerate(predicted, start=1)}


def _check_same(true: ImageRecord, predicted: ImageRecord) -> None:
    if (true.width, true.height) != (predicted.width, predicted.height):
        raise UserError(
            f"image {predicted.id} is {predicted.file_name} of {predicted.width}x"
            f"{predicted.height} in the masks, but {true.file_name} of {true.width}x{true.height} "
            "in gt; give the ground truth of these images"
        )
