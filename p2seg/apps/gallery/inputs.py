"""What a gallery is made of: masks, their images, and ground truth where there is some."""

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
"""The share of clicks in the boxes of the true masks of their ids, where the ids are theirs."""


@dataclass(frozen=True)
class Truth:
    """Ground truth in the order of the masks' images.

    Attributes:
        instances: of each image; None where the ground truth has no such image.
        by_id: whether a mask is compared with the instance of its id, as pseudo masks are, or with
            the one of its class that it overlaps most.
    """

    instances: list[Sequence[Instance] | None]
    by_id: bool

    def compared(
        self, place: int, masks: Sequence[Instance]
    ) -> tuple[list[float | None], list[int]]:
        """The IoU of an image's masks, and whose each of the image's true masks is.

        Args:
            place: of the image.
            masks: of it.

        Returns:
            IoUs, None where there is no ground truth; and for each true mask the position of the
            mask that is compared with it, -1 where there is none.
        """
        truths = self.instances[place]
        if truths is None:
            return [None] * len(masks), []
        table = iou_matrix(masks, truths)
        ious: list[float | None] = []
        owners = [-1] * len(truths)
        for k, mask in enumerate(masks):
            fitting = [
                t
                for t, truth in enumerate(truths)
                if truth.label == mask.label and (truth.id == mask.id or not self.by_id)
            ]
            best = max(fitting, key=lambda t: table[k, t], default=None)
            ious.append(0.0 if best is None else float(table[k, best]))
            if best is not None and (table[k, best] > 0 or self.by_id):
                other = owners[best]
                if other < 0 or table[k, best] > table[other, best]:
                    owners[best] = k
        return ious, owners


@dataclass(frozen=True)
class Material:
    """What a gallery is made of.

    Attributes:
        pred: the masks; ids are from 0 up.
        images: folder of the images.
        clicked: whether they are pseudo masks, which have clicks, and not a segmentor's findings.
        truth: what they are compared with.
        stages: what came before them.
    """

    pred: InstanceSet
    images: Path
    clicked: bool
    truth: Truth | None = None
    stages: Stages | None = None


def truth_of(gt: InstanceSet, pred: InstanceSet, clicked: bool) -> Truth:
    """Brings a ground truth into the order of masks: images by file name or id, classes by name.

    Ids of two files may be alike by chance: masks and true masks belong together by them where the
    clicks say so, too.

    Args:
        gt: the ground truth.
        pred: the masks.
        clicked: whether they are pseudo masks; the numbers of a segmentor's findings mean nothing.

    Raises:
        UserError: an image of one id is another one there, or a class of the masks is not there.
    """
    label_of = _labels(gt.categories, pred.categories)
    place_of = _places(gt.images, pred.images)
    found: list[Sequence[Instance] | None] = []
    by_id, inside, count = clicked, 0, 0
    for image, masks in zip(pred.images, pred.instances, strict=True):
        place = place_of(image)
        if place is None:
            found.append(None)
            continue
        _check_same(gt.images[place], image)
        truths = [
            replace(each, label=label_of[each.label])
            for each in gt.instances[place]
            if not each.crowd and each.label in label_of
        ]
        found.append(truths)
        known = {truth.id: truth for truth in truths}
        by_id = by_id and all(
            mask.id in known and known[mask.id].label == mask.label for mask in masks
        )
        if by_id:
            inside += sum(_is_clicked(known[mask.id], mask) for mask in masks)
            count += len(masks)
    if all(each is None for each in found):
        raise UserError("no image of the masks is in gt; give the ground truth of these images")
    return Truth(found, by_id and inside >= CLICKED * count)


def _places(
    theirs: Sequence[ImageRecord], ours: Sequence[ImageRecord]
) -> Callable[[ImageRecord], int | None]:
    """Where an image of ours is among theirs: by file name; by id where no name is in both."""
    names = {image.file_name: k for k, image in enumerate(theirs)}
    ids = {image.id: k for k, image in enumerate(theirs)}
    if any(image.file_name in names for image in ours):
        return lambda image: names.get(image.file_name)
    return lambda image: ids.get(image.id)


def _is_clicked(truth: Instance, mask: Instance) -> bool:
    """Whether a mask's click lies in the box of a true mask."""
    if mask.point is None:
        return False
    x, y, width, height = codec.box(truth.rle)
    return y <= mask.point[0] <= y + height and x <= mask.point[1] <= x + width


def _labels(theirs: Sequence[Category], ours: Sequence[Category]) -> dict[int, int]:
    """Our class of each of theirs that we have."""
    names = {category.name: label for label, category in enumerate(theirs, start=1)}
    missing = [category.name for category in ours if category.name not in names]
    if missing:
        raise UserError(
            f"category {missing[0]} of the masks is not in gt, which has "
            f"{', '.join(list(names)[:5])}; give the ground truth of these classes"
        )
    return {names[category.name]: label for label, category in enumerate(ours, start=1)}


def _check_same(theirs: ImageRecord, ours: ImageRecord) -> None:
    if (theirs.width, theirs.height) != (ours.width, ours.height):
        raise UserError(
            f"image {ours.id} is {ours.file_name} of {ours.width}x{ours.height} among the masks and"
            f" {theirs.file_name} of {theirs.width}x{theirs.height} in gt; give the ground truth of"
            " these images"
        )
