"""Removal of VOC's void pixels from predictions, for the scores of `void=ignore`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from pycocotools import mask as codec

from p2seg.data import rle
from p2seg.data.coco import ImageRecord, Instance, InstanceSet
from p2seg.data.labels import read_labels
from p2seg.runtime.ranks import Ranks
from p2seg.structures import IGNORED


def without_void(pred: InstanceSet, root: Path, ranks: Ranks | None = None) -> InstanceSet:
    """The predictions without VOC's void pixels.

    A prediction on void pixels alone is dropped. No ground truth has a void pixel, so that the IoU
    of the remaining masks ignores void.

    Args:
        pred: predictions for the images of a VOC split.
        root: a VOC year's folder, where `SegmentationObject/<id>.png` has 255 for void.
        ranks: the ranks that share the images; None: this process alone.
    """
    ranks = ranks or Ranks()
    instances = []
    for image, guesses in ranks.share(list(zip(pred.images, pred.instances, strict=True))):
        valid = _valid(root, image) if guesses else {}
        instances.append([part for each in guesses if (part := _part(each, valid)) is not None])
    return replace(pred, instances=ranks.merged(instances))


def _valid(root: Path, image: ImageRecord) -> dict[str, Any]:
    path = root / "SegmentationObject" / PurePosixPath(image.file_name).with_suffix(".png")
    size = image.height, image.width
    return rle.encode(read_labels(path, "mask of objects", size) != IGNORED)


def _part(instance: Instance, valid: dict[str, Any]) -> Instance | None:
    part = rle.plain(codec.merge([instance.rle, valid], intersect=True))
    if rle.area(instance.rle) and not rle.area(part):
        return None
    return replace(instance, rle=part)
