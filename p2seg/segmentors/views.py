"""Test-time augmentation: averages detections over mirrored and rescaled views of an image.

Detections of different views are matched by mask IoU. Then scores, boxes and soft masks are
averaged. It works for every segmentation model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from p2seg.data import rle as codec
from p2seg.errors import check_choice
from p2seg.segmentors.detection import Box, Detections, SoftDetection, SoftMask, thresholded
from p2seg.segmentors.segmentor import Segmentor

SAME = 0.5
"""Minimum IoU at which detections of two views are the same instance."""


@dataclass(frozen=True)
class View:
    """A transform of the input image.

    Attributes:
        scale: factor on the model's input size.
        flip: whether the image is mirrored horizontally.
    """

    scale: float = 1.0
    flip: bool = False


VIEWS = {
    "one": (View(),),
    "flip": (View(), View(flip=True)),
    "scales": tuple(View(scale, flip) for scale in (1.0, 0.75, 1.25) for flip in (False, True)),
}
"""The allowed values of `predict.views`."""


@torch.inference_mode()
def predict_views(
    model: Segmentor, images: Sequence[Tensor], score: float, views: str = "one"
) -> list[Detections]:
    """The detections of images, averaged over views.

    Args:
        model: the model in evaluation mode.
        images: B images `[3, H, W]` uint8 RGB, on the model's device.
        score: minimum score.
        views: a key of `VIEWS`.

    Returns:
        B lists of at most `model.max_objects` detections, best first.

    Raises:
        UserError: `views` is unknown.
        NotFinite: the outputs of the model contain NaN or infinity.
    """
    check_choice("predict.views", views, tuple(VIEWS))
    transforms = VIEWS[views]
    if len(transforms) == 1:
        return model.predict(images, score)
    floor = score / len(transforms)  # an instance may have a low score in one view only
    of_views = []
    for view in transforms:
        inputs = [image.flip(-1) if view.flip else image for image in images]
        outputs = model.predict_soft(inputs, floor, scale=view.scale)
        of_views.append(
            [
                [_mirrored(each, image.shape[2]) for each in output] if view.flip else output
                for image, output in zip(images, outputs, strict=True)
            ]
        )
    results = []
    for image, *per_view in zip(images, *of_views, strict=True):
        height, width = image.shape[1:]
        most = model.max_objects
        own = Detections()
        for each in merged(per_view, height, width):  # one by one, because full masks are large
            own += thresholded([each], height, width, most) if each.score >= score else []
        own.sort(key=lambda one: -one.score)
        # A detection below `score` that a view has dropped does not count as cut off.
        dropped = any(len(one) > most and min(o.score for o in one) >= score for one in per_view)
        results.append(Detections(own[:most], cut=dropped or len(own) > most))
    return results


def _mirrored(detection: SoftDetection, width: int) -> SoftDetection:
    box = detection.box
    if box is not None:
        box = (width - box[2], box[1], width - box[0], box[3])
    return replace(detection, box=box, mask=detection.mask.mirrored(width))


def merged(
    views: Sequence[Sequence[SoftDetection]], height: int, width: int
) -> Iterator[SoftDetection]:
    """Matches and averages the detections of several views of one image.

    Detections are processed by descending score. Each is matched with the unmatched detection of
    its class with the largest mask IoU in every other view, if the IoU is at least `SAME`. A view
    without a match contributes a score of 0.

    Args:
        views: detections of each view in pixels of the image.
        height: height of the image in pixels.
        width: width of the image in pixels.

    Yields:
        The averages, ordered by the best score of any view.
    """
    pairs = [(number, each) for number, view in enumerate(views) for each in view]
    pairs.sort(key=lambda pair: -pair[1].score)
    codes = [codec.encode(each.mask.whole(height, width)) for _, each in pairs]
    iou = codec.iou_matrix(codes, codes)
    view = np.array([number for number, _ in pairs], np.int64)
    labels = np.array([each.label for _, each in pairs], np.int64)
    free = np.ones(len(pairs), bool)
    for lead in range(len(pairs)):
        if not free[lead]:
            continue
        members = [lead]
        for number in set(range(len(views))) - {view[lead]}:
            matches = free & (view == number) & (labels == labels[lead]) & (iou[lead] >= SAME)
            if matches.any():
                members.append(int(np.argmax(np.where(matches, iou[lead], -1.0))))
        free[members] = False
        yield _average([pairs[k][1] for k in members], len(views))


def _average(members: list[SoftDetection], views: int) -> SoftDetection:
    """The average of matched detections; boxes and masks are weighted by score."""
    total = max(sum(each.score for each in members), 1e-9)
    shares = [each.score / total for each in members]
    box: Box | None = None
    if all(each.box is not None for each in members):
        boxes: NDArray[np.float64] = np.array([each.box for each in members])
        box = cast(Box, tuple((np.array(shares)[:, None] * boxes).sum(0).tolist()))
    masks = [each.mask for each in members]
    top, left = min(mask.top for mask in masks), min(mask.left for mask in masks)
    bottom = max(mask.top + mask.values.shape[0] for mask in masks)
    right = max(mask.left + mask.values.shape[1] for mask in masks)
    values = torch.zeros(bottom - top, right - left)
    for share, mask in zip(shares, masks, strict=True):
        h, w = mask.values.shape
        y, x = mask.top - top, mask.left - left
        values[y : y + h, x : x + w] += share * mask.values
    score = sum(each.score for each in members) / views
    return SoftDetection(members[0].label, score, box, SoftMask(top, left, values))
