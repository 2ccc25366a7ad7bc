"""Finds masks whose shape follows from the clicks alone, without the image."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from p2seg.data.coco import Instance, InstanceSet, decode
from p2seg.semantic.grabcut import GrabCut

MAX_IMAGES = 100
"""The masks of at most this many images are compared; with more images, of every n-th."""
SIDE = 256
"""Masks are compared at this long side in pixels."""
SIMILAR = 0.8
"""Minimum IoU of a mask with the shape that the clicks alone would give."""
SHARE = 0.5
"""A class is reported from this share of its masks on."""


class Prior(NamedTuple):
    """A class whose masks follow from the clicks alone.

    Attributes:
        name: class name.
        similar: number of masks with such a shape.
        compared: number of compared masks.
    """

    name: str
    similar: int
    compared: int

    def __str__(self) -> str:
        return f"{self.name}: {self.similar} of {self.compared} masks"


def prior_decided(masks: InstanceSet) -> list[Prior]:
    """Returns the classes whose masks have the size that the distance between clicks would give.

    Without an image, a mask is either GrabCut's disc around the click or the set of all pixels
    nearest to the click. Default boxes and masks without a click are not compared.

    Args:
        masks: pseudo masks.

    Returns:
        The classes in which at least half of the masks have one of the two shapes.
    """
    similar, compared = np.zeros((2, len(masks.categories) + 1), int)
    for place in range(0, len(masks.images), max(1, -(-len(masks.images) // MAX_IMAGES))):
        record = masks.images[place]
        group = [each for each in masks.instances[place] if each.point is not None]
        if not group:
            continue
        labels = np.array([each.label for each in group])
        has_mask = np.array([not each.default_box for each in group])
        is_similar = _similar(group, (record.height, record.width))
        np.add.at(compared, labels[has_mask], 1)
        np.add.at(similar, labels[has_mask & is_similar], 1)
    return [
        Prior(category.name, int(similar[label]), int(compared[label]))
        for label, category in enumerate(masks.categories, start=1)
        if compared[label] and similar[label] >= SHARE * compared[label]
    ]


def warn_of_prior(masks: InstanceSet, write: Callable[[str], object]) -> None:
    """Writes a warning for every class of `prior_decided`."""
    for prior in prior_decided(masks):
        write(
            f"warning: {prior} have the size that the clicks alone would give, so the image had no "
            "effect; check them with p2seg gallery"
        )


def _similar(group: list[Instance], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Returns whether each mask has a shape that the clicks alone would give; `[K]` bool."""
    source, step = GrabCut(), max(1, -(-max(size) // SIDE))
    clicks = np.array([np.floor(each.point or (0, 0)) for each in group], np.int64)
    nearest, _ = source.reaches(clicks, min(size))
    y, x = np.mgrid[: size[0] : step, : size[1] : step]
    cell = np.asarray(cKDTree(clicks).query(np.stack([y, x], -1))[1])
    similar = np.zeros(len(group), bool)
    for k, each in enumerate(group):
        if each.default_box:
            continue
        mask = decode(each)[::step, ::step]
        disc = np.hypot(y - clicks[k, 0], x - clicks[k, 1]) <= source.sure * nearest[k]
        similar[k] = any(_iou(mask, shape) >= SIMILAR for shape in (disc, cell == k))
    return similar


def _iou(mask: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    return float((mask & other).sum() / max(1, (mask | other).sum()))
