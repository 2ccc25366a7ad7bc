"""VOC's void pixels taken out of predictions, for the score of `void=ignore`."""

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
    """The predictions without the pixels that VOC's annotators left undecided.

    A prediction on void alone is left out: nothing is known about it. No ground truth has a void
    pixel, so that this alone makes an IoU that ignores them.

    Args:
        pred: predictions with the images of a VOC split.
        root: a VOC year's folder; `SegmentationObject/<id>.png` holds 255 where it is void.
        ranks: that share the images; None: this process alone.

    Returns:
        The predictions with smaller masks.
    """
    ranks = ranks or Ranks()
    instances = []
    for image, guesses in ranks.share(list(zip(pred.images, pred.instances, strict=True))):
        decided = _decided(root, image) if guesses else {}
        instances.append([part for each in guesses if (part := _part(each, decided)) is not None])
    return replace(pred, instances=ranks.merged(instances))


def _decided(root: Path, image: ImageRecord) -> dict[str, Any]:
    """The code of the pixels that are not void."""
    path = root / "SegmentationObject" / PurePosixPath(image.file_name).with_suffix(".png")
    size = image.height, image.width
    return rle.encode(read_labels(path, "mask of objects", size) != IGNORED)


def _part(instance: Instance, decided: dict[str, Any]) -> Instance | None:
    part = rle.plain(codec.merge([instance.rle, decided], intersect=True))
    if rle.area(instance.rle) and not rle.area(part):
        return None
    return replace(instance, rle=part)
