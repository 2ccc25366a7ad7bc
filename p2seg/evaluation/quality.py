"""Quality of pseudo masks: the IoU of each with the ground truth of its point."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from p2seg.data import rle as codec
from p2seg.data.coco import ImageRecord, Instance, InstanceSet
from p2seg.errors import UserError
from p2seg.evaluation.voc import iou_matrix
from p2seg.runtime.ranks import Ranks

SIZES = {"small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, float("inf"))}
"""COCO's sizes: areas in pixels, including the lower bound."""
LEVELS = {"50": 0.5, "70": 0.7, "90": 0.9}
"""IoU levels by name. An instance counts if its IoU is higher (Paper: Table 6)."""
TOUCHING = 3
"""Largest distance in pixels of two touching instances of one class."""


def quality(gt: InstanceSet, pred: InstanceSet, ranks: Ranks | None = None) -> dict[str, Any]:
    """Mean IoU and recall of instances, with the masks matched by annotation id.

    An instance without a mask has IoU 0. Crowds are not instances.

    Args:
        gt: ground truth.
        pred: pseudo masks for the same images and classes, in the same order.
        ranks: the ranks that share the images; None: this process alone.

    Returns:
        The result of `_summary` (`multi`: instances with another of their class in the image;
        `touching`: instances with another within 3 pixels), `no_box` (the same with IoU 0 for
        default boxes), `default_boxes` (their number), `seed_masks` (number of masks from seeds,
        where the network has none), and `per_class` and `per_size` with `instances` and `mean_iou`.

    Raises:
        UserError: an id of `pred` is not in that image of `gt`, has another class there, or is
            not unique.
    """
    ranks = ranks or Ranks()
    images = list(zip(gt.images, gt.instances, pred.instances, strict=True))
    share = [
        _image(image, [each for each in truths if not each.crowd], guesses, gt)
        for image, truths, guesses in ranks.share(images)
    ]
    rows = [row for of_image in ranks.merged(share) for row in of_image]
    table = np.array(rows, np.float64).reshape(-1, 7)
    iou, is_box, of_seed, multi, touching, label, area = table.T
    near = {"multi": multi > 0, "touching": touching > 0}
    per_class = {
        category.name: _part(iou[label == k]) for k, category in enumerate(gt.categories, start=1)
    }
    per_size = {
        name: _part(iou[(area >= least) & (area < most)]) for name, (least, most) in SIZES.items()
    }
    return {
        **_summary(iou, near),
        "no_box": _summary(np.where(is_box > 0, 0.0, iou), near),
        "default_boxes": int(is_box.sum()),
        "seed_masks": int(of_seed.sum()),
        "per_class": per_class,
        "per_size": per_size,
    }


def _image(
    image: ImageRecord, truths: Sequence[Instance], guesses: Sequence[Instance], gt: InstanceSet
) -> list[tuple[float, bool, bool, bool, bool, int, int]]:
    """Per instance: IoU, default box, from seed, `multi`, `touching`, class and area."""
    masks = _matched(image, truths, guesses, gt)
    labels = [truth.label for truth in truths]
    near = touching(truths)
    rows = []
    for truth, touches in zip(truths, near, strict=True):
        mask = masks.get(truth.id)
        iou = 0.0 if mask is None else float(iou_matrix([mask], [truth])[0, 0])
        is_box = mask is not None and mask.default_box
        of_seed = mask is not None and mask.from_seed
        multi = labels.count(truth.label) > 1
        area = codec.area(truth.rle)
        rows.append((iou, is_box, of_seed, multi, touches, truth.label, area))
    return rows


def touching(truths: Sequence[Instance]) -> list[bool]:
    """Whether each instance is within 3 pixels of another one of its class, or overlaps it.

    Args:
        truths: instances of one image, without crowds.
    """
    offsets = np.arange(-TOUCHING, TOUCHING + 1)
    disc = np.add.outer(offsets**2, offsets**2) <= TOUCHING**2
    result = [False] * len(truths)
    for own in _with_near_boxes(truths):
        cover = sum(codec.decode(truths[k].rle).astype(np.uint16) for k in own)
        for k in own:
            x, y, width, height = map(int, codec.box(truths[k].rle))
            window = (
                slice(max(0, y - TOUCHING), y + height + TOUCHING),
                slice(max(0, x - TOUCHING), x + width + TOUCHING),
            )
            mask = codec.decode(truths[k].rle)[window].astype(np.uint8)
            others = np.asarray(cover)[window] > mask
            result[k] = bool((others & (cv2.dilate(mask, disc.astype(np.uint8)) > 0)).any())
    return result


def _with_near_boxes(truths: Sequence[Instance]) -> list[list[int]]:
    """For each class, the instances with a box near another one's. Only these are decoded."""
    first = np.array([codec.box(truth.rle)[:2] for truth in truths]).reshape(-1, 2)
    last = first + np.array([codec.box(truth.rle)[2:] for truth in truths]).reshape(-1, 2)
    labels = np.array([truth.label for truth in truths])
    near = (first[:, None] <= last[None] + TOUCHING).all(2)
    near &= near.T & (labels[:, None] == labels)
    several = near.sum(1) > 1
    classes = np.unique(labels[several])
    return [np.flatnonzero(several & (labels == label)).tolist() for label in classes]


def _matched(
    image: ImageRecord, truths: Sequence[Instance], guesses: Sequence[Instance], gt: InstanceSet
) -> dict[int, Instance]:
    """The masks of an image by annotation id.

    Raises:
        UserError: an id is not unique, is not in the ground truth, or has another class there.
    """
    masks = {guess.id: guess for guess in guesses}
    if len(masks) < len(guesses):
        raise UserError(
            f"two pseudo masks of image {image.file_name} have the same annotation id; write one "
            "mask per instance"
        )
    labels = {truth.id: truth.label for truth in truths}
    for guess in guesses:
        if guess.id not in labels:
            raise UserError(
                f"annotation id {guess.id} of a mask in image {image.file_name} is not in the "
                "ground truth; quality is matched by id, so give pseudo masks made from points of "
                "this ground truth, or kind=model"
            )
        if guess.label != labels[guess.id]:
            names = [gt.categories[label - 1].name for label in (guess.label, labels[guess.id])]
            raise UserError(
                f"annotation {guess.id} of image {image.file_name} is a {names[0]} among the "
                f"pseudo masks and a {names[1]} in the ground truth; make the points and the "
                "masks from this ground truth"
            )
    return masks


def _summary(iou: NDArray[Any], near: dict[str, NDArray[Any]]) -> dict[str, Any]:
    """Mean IoU, count and share (recall) above each level, and mean IoU of instances in `near`."""
    instances = len(iou)
    counts = {f"iou{name}": int((iou > level).sum()) for name, level in LEVELS.items()}
    shares = {
        f"recall{name}": counts[f"iou{name}"] / instances if instances else None for name in LEVELS
    }
    parts = {
        f"{name}_{key}": value
        for name, selected in near.items()
        for key, value in _part(iou[selected]).items()
    }
    return {**_part(iou), **counts, **shares, **parts}


def _part(iou: NDArray[Any]) -> dict[str, Any]:
    return {"instances": len(iou), "mean_iou": float(iou.mean()) if len(iou) else None}
