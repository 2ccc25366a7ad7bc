"""Quality of pseudo masks: each compared with the ground truth its point was clicked on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from p2seg.data import rle as codec
from p2seg.data.coco import ImageRecord, Instance, InstanceSet
from p2seg.errors import UserError
from p2seg.evaluation.voc import iou_matrix
from p2seg.runs.ranks import Ranks

SIZES = {"small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, float("inf"))}
"""COCO's sizes: areas in pixels, the lower bound included."""
LEVELS = {"50": 0.5, "70": 0.7, "90": 0.9}
"""The IoU an instance must exceed to be counted, by name (Paper: Table 6)."""


def quality(gt: InstanceSet, pred: InstanceSet, ranks: Ranks | None = None) -> dict[str, Any]:
    """Mean IoU per instance, and how many are good, with the masks matched by annotation id.

    An instance without a mask counts IoU 0. Crowds are no instances.

    Args:
        gt: ground truth.
        pred: pseudo masks for the same images and classes, in the same order.
        ranks: that share the images; None: this process alone.

    Returns:
        What `_summary` gives, `no_box` (the same with default boxes at IoU 0), `default_boxes`
        (how many there are), `seed_masks` (how many the seeds gave, for the network found none),
        and `per_class` and `per_size` with `instances` and `mean_iou` each.

    Raises:
        UserError: an id of `pred` is no instance of that image in `gt`, is of another class
            there, or comes twice.
    """
    ranks = ranks or Ranks()
    images = list(zip(gt.images, gt.instances, pred.instances, strict=True))
    made = [
        _image(image, [each for each in truths if not each.crowd], guesses, gt)
        for image, truths, guesses in ranks.share(images)
    ]
    rows = [row for of_image in ranks.merged(made) for row in of_image]
    table = np.array(rows, np.float64).reshape(-1, 6)
    iou, is_box, of_seed, multi, label, area = table.T
    per_class = {
        category.name: _part(iou[label == k]) for k, category in enumerate(gt.categories, start=1)
    }
    per_size = {
        name: _part(iou[(area >= least) & (area < most)]) for name, (least, most) in SIZES.items()
    }
    return {
        **_summary(iou, multi > 0),
        "no_box": _summary(np.where(is_box > 0, 0.0, iou), multi > 0),
        "default_boxes": int(is_box.sum()),
        "seed_masks": int(of_seed.sum()),
        "per_class": per_class,
        "per_size": per_size,
    }


def _image(
    image: ImageRecord, truths: Sequence[Instance], guesses: Sequence[Instance], gt: InstanceSet
) -> list[tuple[float, bool, bool, bool, int, int]]:
    """For each instance: IoU, default box, of a seed, has a neighbor of its class, class, area."""
    masks = _matched(image, truths, guesses, gt)
    labels = [truth.label for truth in truths]
    rows = []
    for truth in truths:
        mask = masks.get(truth.id)
        iou = 0.0 if mask is None else float(iou_matrix([mask], [truth])[0, 0])
        is_box = mask is not None and mask.default_box
        of_seed = mask is not None and mask.from_seed
        multi = labels.count(truth.label) > 1
        rows.append((iou, is_box, of_seed, multi, truth.label, codec.area(truth.rle)))
    return rows


def _matched(
    image: ImageRecord, truths: Sequence[Instance], guesses: Sequence[Instance], gt: InstanceSet
) -> dict[int, Instance]:
    """The masks of an image by annotation id, each the mask of a ground truth of its class."""
    masks = {guess.id: guess for guess in guesses}
    if len(masks) < len(guesses):
        raise UserError(
            f"two pseudo masks of image {image.file_name} have one annotation id; write one mask "
            "an instance"
        )
    labels = {truth.id: truth.label for truth in truths}
    for guess in guesses:
        if guess.id not in labels:
            raise UserError(
                f"the mask with annotation id {guess.id} in image {image.file_name} is no instance "
                "of the ground truth there; quality is matched by id, so give the pseudo masks "
                "made from points of this ground truth, or kind=model"
            )
        if guess.label != labels[guess.id]:
            names = [gt.categories[label - 1].name for label in (guess.label, labels[guess.id])]
            raise UserError(
                f"annotation {guess.id} of image {image.file_name} is a {names[0]} among the "
                f"pseudo masks and a {names[1]} in the ground truth; make the points and the "
                "masks from this ground truth"
            )
    return masks


def _summary(iou: NDArray[Any], multi: NDArray[Any]) -> dict[str, Any]:
    """Mean IoU, counts above each level and their share (recall), and the part with neighbours."""
    instances = len(iou)
    counts = {f"iou{name}": int((iou > level).sum()) for name, level in LEVELS.items()}
    shares = {
        f"recall{name}": counts[f"iou{name}"] / instances if instances else None for name in LEVELS
    }
    part = _part(iou[multi])
    return {
        **_part(iou),
        **counts,
        **shares,
        "multi_instances": part["instances"],
        "multi_mean_iou": part["mean_iou"],
    }


def _part(iou: NDArray[Any]) -> dict[str, Any]:
    return {"instances": len(iou), "mean_iou": float(iou.mean()) if len(iou) else None}
