"""How good semantic maps are, also those of masks: mean IoU over classes against the truth."""

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

    A pixel that the map leaves open (255) is wrong for its true class and counts against no
    other; otherwise a map could be perfect by saying little. Pixels of a crowd that no instance
    covers are left out. The mean is over background and the classes that the ground truth has.

    Args:
        folder: palette or gray PNGs, one an image of `gt`.
        gt: ground truth.

    Returns:
        `miou`; `miou_labeled`, the same with the pixels left out that the maps leave open;
        `labeled`, the share of pixels that they do not; `per_class`, IoU by name, with
        `background`. Fractions 0..1, None where nothing defines them.

    Raises:
        UserError: a map is missing, of another size, or holds a label that is no class.
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
    """The scores of `semantic_scores` of maps that are read one by one, of some of the images.

    Args:
        gt: ground truth.
    """

    def __init__(self, gt: InstanceSet) -> None:
        self.gt = gt
        classes = len(gt.categories)
        self.counts = np.zeros((classes + 1, classes + 2), np.int64)
        self.images = 0
        pairs = zip(gt.images, gt.instances, strict=True)
        self._truth = {image.file_name: (image, own) for image, own in pairs}

    def add(self, name: str, given: NDArray[np.uint8]) -> None:
        """Counts a map; that of an image without ground truth counts nothing.

        Args:
            name: file name of its image.
            given: `[H, W]`, 0..C or 255.

        Raises:
            UserError: the ground truth is of another size.
        """
        if name not in self._truth:
            return
        image, own = self._truth[name]
        if given.shape != (image.height, image.width):
            raise UserError(
                f"image {name} is {given.shape[1]}x{given.shape[0]} in the points file but "
                f"{image.width}x{image.height} in the ground truth; give the instances file of "
                "these images"
            )
        truth = painted(own, (image.height, image.width))
        self.counts += confusion(truth, given, len(self.gt.categories))
        self.images += 1

    def scores(self) -> dict[str, Any]:
        """Those of `semantic_scores`, and `images`, how many they are of."""
        return {"images": self.images, **_scores(self.counts, self.gt)}


def _scores(counts: NDArray[np.int64], gt: InstanceSet) -> dict[str, Any]:
    iou = class_ious(counts)
    closed = counts[:, :-1]
    total = int(counts.sum())
    names = ["background", *(category.name for category in gt.categories)]
    return {
        "miou": mean(iou),
        "miou_labeled": mean(class_ious(np.pad(closed, ((0, 0), (0, 1))))),
        "labeled": int(closed.sum()) / total if total else None,
        "per_class": {name: mean(iou[k : k + 1]) for k, name in enumerate(names)},
    }


def masks_miou(gt: InstanceSet, masks: InstanceSet, ranks: Ranks | None = None) -> float | None:
    """mIoU of the class map that instance masks make, by the rules of `semantic_scores`.

    Args:
        gt: ground truth.
        masks: of the same images and classes, in the same order.
        ranks: that share the images; None: this process alone.

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
    """The `confusion` of all images and their maps."""
    classes = len(gt.categories)
    counts = np.zeros((classes + 1, classes + 2), np.int64)
    for image, own, given in zip(gt.images, gt.instances, maps, strict=True):
        counts += confusion(painted(own, (image.height, image.width)), given, classes)
    return counts


def painted(instances: Sequence[Instance], size: tuple[int, int]) -> NDArray[np.uint8]:
    """The semantic map of instances: classes painted by descending area, crowds ignored.

    Args:
        instances: of one image.
        size: (height, width), pixels.

    Returns:
        `[H, W]` uint8: 0 background, 1..C, 255 where there is a crowd and no instance.
    """
    truth = np.zeros(size, np.uint8)
    masks = [(each, decode(each)) for each in instances]
    # crowds first, then the large before the small, so that what lies on top stays whole
    masks.sort(key=lambda pair: (not pair[0].crowd, -int(pair[1].sum())))
    for instance, mask in masks:
        truth[mask] = IGNORED if instance.crowd else instance.label
    return truth


def confusion(
    truth: NDArray[np.uint8], given: NDArray[np.uint8], classes: int
) -> NDArray[np.int64]:
    """How many pixels of each true class bear each label.

    Args:
        truth: `[H, W]`, 0..C; pixels of 255 are left out.
        given: `[H, W]`, 0..C or 255.
        classes: C.

    Returns:
        `[C+1, C+2]`; the last column counts the pixels that `given` leaves open (255).
    """
    kept = truth != IGNORED
    columns = np.where(given[kept] == IGNORED, classes + 1, given[kept]).astype(np.int64)
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
