"""Averaging what a segmentor finds in several views of an image: flipped, at other scales.

One way for every segmentor: what was found is matched by its masks, then scores, boxes and soft
masks are averaged.
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
from p2seg.segmentors.detection import Box, Detections, Found, SoftMask, decided
from p2seg.segmentors.segmentor import Segmentor

SAME = 0.5
"""IoU from which what two views found is one instance."""


@dataclass(frozen=True)
class View:
    """How an image is looked at.

    Attributes:
        scale: times the segmentor's own sides.
        flip: mirrored left to right.
    """

    scale: float = 1.0
    flip: bool = False


VIEWS = {
    "one": (View(),),
    "flip": (View(), View(flip=True)),
    "scales": tuple(View(scale, flip) for scale in (1.0, 0.75, 1.25) for flip in (False, True)),
}
"""The named choices of `predict.views`."""


@torch.inference_mode()
def predict_views(
    model: Segmentor, images: Sequence[Tensor], score: float, views: str = "one"
) -> list[Detections]:
    """The instances of images, averaged over views.

    Args:
        model: in evaluation mode.
        images: B of `[3, H, W]` uint8 RGB, on the model's device.
        score: detections below it are left out.
        views: one of `VIEWS`.

    Returns:
        B lists of at most `model.max_objects`, best first.

    Raises:
        UserError: an unknown name of views.
        NotFinite: what the model gives on one of the images is NaN or infinite.
    """
    check_choice("predict.views", views, tuple(VIEWS))
    chosen = VIEWS[views]
    if len(chosen) == 1:
        return model.predict(images, score)
    floor = score / len(chosen)  # an instance may be weak in one view and strong in the others
    of_views = []
    for view in chosen:
        seen = [image.flip(-1) if view.flip else image for image in images]
        looked = model.look(seen, floor, scale=view.scale)
        of_views.append(
            [
                [_mirrored(each, image.shape[2]) for each in found] if view.flip else found
                for image, found in zip(images, looked, strict=True)
            ]
        )
    made = []
    for image, *found in zip(images, *of_views, strict=True):
        height, width = image.shape[1:]
        most = model.max_objects
        own = Detections()
        for each in merged(found, height, width):  # one by one: whole masks are large
            own += decided([each], height, width, most) if each.score >= score else []
        own.sort(key=lambda one: -one.score)
        # a view looks below `score`: what it dropped there is no object of the image
        dropped = any(len(one) > most and min(o.score for o in one) >= score for one in found)
        made.append(Detections(own[:most], cut=dropped or len(own) > most))
    return made


def _mirrored(found: Found, width: int) -> Found:
    """The same in an image of `width` pixels, left and right exchanged."""
    box = found.box
    if box is not None:
        box = (width - box[2], box[1], width - box[0], box[3])
    return replace(found, box=box, mask=found.mask.mirrored(width))


def merged(views: Sequence[Sequence[Found]], height: int, width: int) -> Iterator[Found]:
    """What several views of one image found, instance by instance.

    The best is matched first: of every other view it takes the detection of its class that its
    mask overlaps most, from an IoU of a half on. A view without one counts as a score of 0.

    Args:
        views: of each, what it found, in the pixels of the image.
        height: of the image, pixels.
        width: of the image, pixels.

    Yields:
        The averages, by the best score of any view.
    """
    every = [(number, each) for number, found in enumerate(views) for each in found]
    every.sort(key=lambda pair: -pair[1].score)
    codes = [codec.encode(each.mask.whole(height, width)) for _, each in every]
    iou = codec.iou_matrix(codes, codes)
    view = np.array([number for number, _ in every], np.int64)
    labels = np.array([each.label for _, each in every], np.int64)
    free = np.ones(len(every), bool)
    for lead in range(len(every)):
        if not free[lead]:
            continue
        members = [lead]
        for number in set(range(len(views))) - {view[lead]}:
            fitting = free & (view == number) & (labels == labels[lead]) & (iou[lead] >= SAME)
            if fitting.any():
                members.append(int(np.argmax(np.where(fitting, iou[lead], -1.0))))
        free[members] = False
        yield _average([every[k][1] for k in members], len(views))


def _average(members: list[Found], views: int) -> Found:
    """One instance of several views; boxes and masks are weighed by the scores."""
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
    return Found(members[0].label, score, box, SoftMask(top, left, values))
