"""Mean IoU over classes of semantic maps, or of the maps of instance masks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from p2seg.data.coco import Instance, InstanceSet, decode
from p2seg.data.maps import map_path, read_map
from p2seg.errors import UserError
from p2seg.evaluation.voc import Float, mean
from p2seg.runtime.ranks import Ranks
from p2seg.structures import IGNORED


def semantic_scores(folder: Path, gt: InstanceSet) -> dict[str, Any]:
    """Compares a folder of semantic maps with the classes of the ground truth.

    An ignored pixel (255) of a map is a miss of its true class, so that a map cannot improve by
    ignoring pixels. Crowd pixels that no instance covers are skipped. The mean is over background
    and the classes in the ground truth.

    Args:
        folder: palette or gray PNGs, one per image of `gt`.
        gt: ground truth.

    Returns:
        `miou`; `miou_labeled`, the same without the ignored pixels of the maps; `labeled`, the
        share of pixels that are not ignored; `per_class`, IoU by name, including `background`.
        Fractions 0..1, None if undefined.

    Raises:
        UserError: a map is missing, has another size, or has a label that is not a class.
    """
    classes = len(gt.categories)
    counts = _counts(
        gt,
        (
            read_map(map_path(folder, image.file_name), (image.height, image.width), classes)
            for image in gt.images
        ),
    )
    return _scores(counts, gt)


class MapScores:
    """Accumulates the scores of `semantic_scores` map by map, for some of the images."""

    def __init__(self, gt: InstanceSet) -> None:
        self.gt = gt
        classes = len(gt.categories)
        self.counts = np.zeros((classes + 1, classes + 2), np.int64)
        self.images = 0
        pairs = zip(gt.images, gt.instances, strict=True)
        self._truth = {image.file_name: (image, own) for image, own in pairs}

    def add(self, name: str, predicted: NDArray[np.uint8]) -> None:
        """Adds the map of an image. An image without ground truth is skipped.

        Args:
            name: file name of the image.
            predicted: `[H, W]`, 0..C or 255.

        Raises:
            UserError: the ground truth has another size.
        """
        if name not in self._truth:
            return
        image, own = self._truth[name]
        if predicted.shape != (image.height, image.width):
            raise UserError(
                f"image {name} is {predicted.shape[1]}x{predicted.shape[0]} in the points file but "
                f"{image.width}x{image.height} in the ground truth; give the instances file of "
                "these images"
            )
        truth = painted(own, (image.height, image.width))
        self.counts += confusion(truth, predicted, len(self.gt.categories))
        self.images += 1

    def scores(self) -> dict[str, Any]:
        """The scores of `semantic_scores`, and `images`, the number of maps."""
        return {"images": self.images, **_scores(self.counts, self.gt)}


def _scores(counts: NDArray[np.int64], gt: InstanceSet) -> dict[str, Any]:
    iou = class_ious(counts)
    labeled = counts[:, :-1]
    total = int(counts.sum())
    names = ["background", *(category.name for category in gt.categories)]
    return {
        "miou": mean(iou),
        "miou_labeled": mean(class_ious(np.pad(labeled, ((0, 0), (0, 1))))),
        "labeled": int(labeled.sum()) / total if total else None,
        "per_class": {name: mean(iou[k : k + 1]) for k, name in enumerate(names)},
    }


def masks_miou(gt: InstanceSet, masks: InstanceSet, ranks: Ranks | None = None) -> float | None:
    """mIoU of the class maps of instance masks, by the rules of `semantic_scores`.

    Args:
        gt: ground truth.
        masks: masks for the same images and classes, in the same order.
        ranks: the ranks that share the images; None: this process alone.

    Returns:
        A fraction 0..1; None without ground truth.
    """
    ranks = ranks or Ranks()
    images, instances = ranks.share(gt.images), ranks.share(gt.instances)
    maps = (
        painted(own, (image.height, image.width))
        for image, own in zip(images, ranks.share(masks.instances), strict=True)
    )
    own = _counts(replace(gt, images=list(images), instances=list(instances)), maps)
    counts: NDArray[np.int64] = np.sum(ranks.gathered(own), axis=0)
    return mean(class_ious(counts))


def _counts(gt: InstanceSet, maps: Iterable[NDArray[np.uint8]]) -> NDArray[np.int64]:
    classes = len(gt.categories)
    counts = np.zeros((classes + 1, classes + 2), np.int64)
    for image, own, predicted in zip(gt.images, gt.instances, maps, strict=True):
        counts += confusion(painted(own, (image.height, image.width)), predicted, classes)
    return counts


def painted(instances: Sequence[Instance], size: tuple[int, int]) -> NDArray[np.uint8]:
    """The semantic map of instances, with classes painted by descending area.

    Args:
        instances: instances of one image.
        size: (height, width), pixels.

    Returns:
        `[H, W]` uint8: 0 background, 1..C, 255 for a crowd without an instance.
    """
    truth = np.zeros(size, np.uint8)
    masks = [(each, decode(each)) for each in instances]
    # Crowds come first, then instances by descending area, so that small objects stay on top.
    masks.sort(key=lambda pair: (not pair[0].crowd, -int(pair[1].sum())))
    for instance, mask in masks:
        truth[mask] = IGNORED if instance.crowd else instance.label
    return truth


def confusion(
    truth: NDArray[np.uint8], predicted: NDArray[np.uint8], classes: int
) -> NDArray[np.int64]:
    """The confusion matrix: pixels of each true class (rows) by predicted class (columns).

    Args:
        truth: `[H, W]`, 0..C. Pixels of 255 are skipped.
        predicted: `[H, W]`, 0..C or 255.
        classes: C.

    Returns:
        `[C+1, C+2]`. The last column counts the ignored pixels (255) of `predicted`.
    """
    kept = truth != IGNORED
    labels = predicted[kept]
    columns = np.where(labels == IGNORED, classes + 1, labels).astype(np.int64)
    cells = truth[kept].astype(np.int64) * (classes + 2) + columns
    shape = (classes + 1, classes + 2)
    return np.bincount(cells, minlength=shape[0] * shape[1]).reshape(shape)


def class_ious(counts: NDArray[np.int64]) -> Float:
    """IoU of each class of a `confusion`, `[C+1]`; NaN for a class without a true pixel."""
    hits = counts.diagonal()
    true = counts.sum(axis=1)
    union = true + counts[:, :-1].sum(axis=0) - hits
    ious: Float = np.where(true > 0, hits / np.maximum(union, 1), np.nan)
    return ious
