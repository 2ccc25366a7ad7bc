"""Measures masks from their shape alone, and scores how suspicious each mask is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import cv2
import numpy as np
from numpy.typing import NDArray

from p2seg.data.coco import Instance, InstanceSet, decode
from p2seg.data.rle import area

Mask = NDArray[np.bool_]
SQUARE = np.ones((3, 3), np.uint8)
CROSS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], np.uint8)
MIN_MASKS = 5
"""Minimum number of masks of a class for its median size."""

REASONS: dict[str, tuple[float, str]] = {
    "default box": (0.9, "no pixel was assigned to the click, so a box replaces the mask"),
    "click outside": (0.8, "the click is not on the mask"),
    "low score": (0.6, "the score is low"),
    "odd size": (0.6, "more than twice or less than half the median size of its class"),
    "in parts": (0.5, "the mask has parts outside its largest part"),
    "holes": (0.3, "the mask has holes"),
    "click at the border": (
        0.3,
        "the click is close to the mask's border, relative to the mask's depth",
    ),
    "touches its class": (0.3, "it touches another mask of its class"),
}
"""The reasons for suspicion: the weight at full strength, and the meaning."""


@dataclass(frozen=True)
class Tight:
    """A mask cropped to its bounding box; an empty mask has no pixel.

    Attributes:
        top: top of the box in pixels.
        left: left of the box in pixels.
        mask: `[h, w]`.
    """

    top: int
    left: int
    mask: Mask

    @staticmethod
    def of(instance: Instance) -> Tight:
        """Returns the cropped mask of an instance."""
        whole = decode(instance)
        rows, columns = np.flatnonzero(whole.any(1)), np.flatnonzero(whole.any(0))
        if not len(rows):
            return Tight(0, 0, np.zeros((0, 0), dtype=bool))
        top, left = int(rows[0]), int(columns[0])
        return Tight(top, left, whole[top : rows[-1] + 1, left : columns[-1] + 1].copy())

    def window(self, top: int, left: int, height: int, width: int) -> Mask:
        """Returns the mask in a window `[height, width]`, which may extend beyond the image."""
        window = np.zeros((height, width), dtype=bool)
        y0, x0 = max(top, self.top), max(left, self.left)
        y1 = min(top + height, self.top + self.mask.shape[0])
        x1 = min(left + width, self.left + self.mask.shape[1])
        if y1 > y0 and x1 > x0:
            part = self.mask[y0 - self.top : y1 - self.top, x0 - self.left : x1 - self.left]
            window[y0 - top : y1 - top, x0 - left : x1 - left] = part
        return window


@dataclass(frozen=True)
class Measures:
    """The measures of a mask.

    Attributes:
        area: in pixels.
        parts: share of its pixels outside its largest part (8 neighbors), 0..1.
        holes: share of holes in the filled mask, 0..1.
        click: depth of the click: 1 at the deepest pixel, 0 on the border, -1 outside; None
            without a click.
        touches: indices in the image of the masks of its class that it touches or overlaps.
        contact: share of its border pixels (4 neighbors) that touch these masks, 0..1.
    """

    area: int
    parts: float
    holes: float
    click: float | None
    touches: list[int]
    contact: float


def measures_of(instances: Sequence[Instance], tights: Sequence[Tight]) -> list[Measures]:
    """Measures the masks of one image.

    Args:
        instances: the instances of the image.
        tights: their cropped masks.

    Returns:
        One result per mask, in the order of the masks.
    """
    touches, contacts = contacts_of(tights, [each.label for each in instances])
    return [
        Measures(
            int(tight.mask.sum()),
            _parts(tight.mask),
            _holes(tight.mask),
            None if each.point is None else _click(tight, *each.point),
            touched,
            contact,
        )
        for each, tight, touched, contact in zip(instances, tights, touches, contacts, strict=True)
    ]


def contacts_of(
    tights: Sequence[Tight], labels: Sequence[int]
) -> tuple[list[list[int]], list[float]]:
    """Finds which masks of one class touch (8 neighbors) or overlap, and along which border share.

    Args:
        tights: the cropped masks of an image.
        labels: their classes.

    Returns:
        Per mask, the sorted indices of the masks that it touches, and the share of its border
        pixels that touch them.
    """
    touches: list[list[int]] = [[] for _ in tights]
    near = [np.zeros(tight.mask.shape, dtype=bool) for tight in tights]
    for i, j in combinations(range(len(tights)), 2):
        if labels[i] != labels[j] or not _boxes_touch(tights[i], tights[j]):
            continue
        reached = _reached(tights[i], tights[j])
        if reached.any():
            touches[i].append(j)
            touches[j].append(i)
            near[i] |= reached
            near[j] |= _reached(tights[j], tights[i])
    shares = []
    for tight, reached in zip(tights, near, strict=True):
        border = _border(tight.mask)
        shares.append(float((border & reached).sum() / max(1, border.sum())))
    return touches, shares


def suspicion(
    measures: Measures, score: float, default_box: bool, median: float | None
) -> tuple[float, dict[str, float]]:
    """Scores how suspicious a mask is, without ground truth.

    Each reason has a strength of 0..1, which is multiplied by its weight in `REASONS`. The total
    is `1 - (1 - a)(1 - b)...`, so one strong reason suffices and several weak ones add up.

    Args:
        measures: measures of the mask.
        score: 0..1.
        default_box: whether the mask is a box for a click to which no pixel was assigned.
        median: median area of its class in pixels; None if the class has too few masks.

    Returns:
        The suspicion, 0..1, and the reasons that are not zero.
    """
    strength = dict.fromkeys(REASONS, 0.0)
    strength["default box"] = float(default_box)
    strength["low score"] = 1 - score
    if measures.click is not None:
        strength["click outside"] = float(measures.click < 0)
        strength["click at the border"] = max(0.0, 1 - measures.click / 0.4) * (measures.click >= 0)
    if median and measures.area and not default_box:
        # The strength is 0 up to a factor of 2, and 1 from a factor of 16.
        strength["odd size"] = (abs(math.log2(measures.area / median)) - 1) / 3
    strength["in parts"] = 4 * measures.parts
    strength["holes"] = 4 * measures.holes
    strength["touches its class"] = 2 * measures.contact
    reasons = {
        name: REASONS[name][0] * min(1.0, max(0.0, value)) for name, value in strength.items()
    }
    total = 1 - math.prod(1 - value for value in reasons.values())
    return total, {name: value for name, value in reasons.items() if value > 0}


def medians(masks: InstanceSet) -> dict[int, float]:
    """Returns the median area in pixels of each class with enough masks besides default boxes."""
    areas: dict[int, list[int]] = {}
    for own in masks.instances:
        for each in own:
            if not each.default_box:
                areas.setdefault(each.label, []).append(area(each.rle))
    return {label: float(np.median(own)) for label, own in areas.items() if len(own) >= MIN_MASKS}


def _boxes_touch(a: Tight, b: Tight) -> bool:
    if not a.mask.size or not b.mask.size:
        return False
    (a_high, a_wide), (b_high, b_wide) = a.mask.shape, b.mask.shape
    down = max(a.top, b.top) <= min(a.top + a_high, b.top + b_high)
    right = max(a.left, b.left) <= min(a.left + a_wide, b.left + b_wide)
    return bool(down and right)


def _reached(own: Tight, other: Tight) -> Mask:
    """Returns the pixels of `own` that lie on or next to `other`, in the box of `own`."""
    height, width = own.mask.shape
    window = other.window(own.top - 1, own.left - 1, height + 2, width + 2)
    dilated = np.asarray(cv2.dilate(window.astype(np.uint8), SQUARE))
    reached: Mask = own.mask & (dilated[1:-1, 1:-1] > 0)
    return reached


def _border(mask: Mask) -> Mask:
    """Returns the mask's pixels that have a 4-neighbor outside the mask."""
    if not mask.size:
        return mask
    inner = cv2.erode(np.pad(mask, 1).astype(np.uint8), CROSS)
    border: Mask = mask & (np.asarray(inner)[1:-1, 1:-1] == 0)
    return border


def _parts(mask: Mask) -> float:
    if not mask.any():
        return 0.0
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    sizes = stats[1:, cv2.CC_STAT_AREA]
    return float(1 - sizes.max() / sizes.sum())


def _holes(mask: Mask) -> float:
    if not mask.any():
        return 0.0
    outside = np.pad(~mask, 1, constant_values=True).astype(np.uint8)
    count, labels = cv2.connectedComponents(outside, connectivity=4)
    if count <= 2:  # label 0 is the mask, label 1 the area around it
        return 0.0
    holes = int(((labels > 0) & (labels != labels[0, 0])).sum())
    return holes / (holes + int(mask.sum()))


def _click(tight: Tight, y: float, x: float) -> float:
    row, column = int(y) - tight.top, int(x) - tight.left
    height, width = tight.mask.shape
    if not (0 <= row < height and 0 <= column < width and tight.mask[row, column]):
        return -1.0
    inside = np.pad(tight.mask, 1).astype(np.uint8)
    depth = cv2.distanceTransform(inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    deepest = float(depth.max())
    if deepest <= 1:  # every pixel is on the border
        return 1.0
    return (float(depth[row + 1, column + 1]) - 1) / (deepest - 1)
