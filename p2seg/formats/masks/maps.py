"""Label maps: PNGs of the instance and class of every pixel, as in VOC."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from p2seg.data.coco import ImageRecord
from p2seg.data.rle import decode
from p2seg.errors import UserError
from p2seg.formats.masks.base import Format, Labeled, Source
from p2seg.runtime.files import write_bytes, write_json

LARGEST = 65535
"""The largest value of 16 bits."""


class LabelMaps(Format):
    """`instances/PLACE.png`, `instances/PLACE.json`, `classes/PLACE.png` and one `classes.json`.

    `instances/PLACE.png` is a 16-bit map: value k is the k-th instance of the JSON, 0 is none. Of
    overlapping instances, the one with the higher score is on top. The JSON lists class and score
    per instance. `classes/PLACE.png` has classes 1..C, 0 for none, in 8 bits, or in 16 bits above
    255 classes. `classes.json` names the classes and is valid for `semantic.class_map`.
    """

    def _begin(self) -> None:
        names = {str(label): each.name for label, each in enumerate(self.categories, start=1)}
        write_json(self.folder / "classes.json", {"0": "background"} | names, indent=2)

    def _write(
        self,
        place: str,
        record: ImageRecord,
        source: Source,  # noqa: ARG002 - the maps contain no image
        instances: Sequence[Labeled],
    ) -> None:
        if len(instances) > LARGEST:
            raise UserError(
                f"image {record.file_name} has {len(instances)} instances, but a map of 16 bits "
                f"holds {LARGEST}; raise the minimum score"
            )
        numbers = instance_map(record, instances)
        labels = np.array([0, *(each.label for each in instances)], np.uint16)
        classes: NDArray[Any] = labels[numbers]
        if len(self.categories) <= np.iinfo(np.uint8).max:
            classes = classes.astype(np.uint8)
        listed = [
            {
                "value": value,
                "class": self.categories[each.label - 1].name,
                "category_id": self.categories[each.label - 1].id,
                "score": round(each.score, 6),
            }
            for value, each in enumerate(instances, start=1)
        ]
        _write_map(self.folder / "instances" / f"{place}.png", numbers)
        _write_map(self.folder / "classes" / f"{place}.png", classes)
        write_json(self.folder / "instances" / f"{place}.json", listed, indent=2)


def instance_map(record: ImageRecord, instances: Sequence[Labeled]) -> NDArray[np.uint16]:
    """The number of the topmost instance at each pixel.

    Args:
        record: the image's record.
        instances: at most 65535, highest score first.

    Returns:
        `[H, W]` uint16: 1 for the first instance, 0 for none.
    """
    numbers = np.zeros((record.height, record.width), np.uint16)
    for value in range(len(instances), 0, -1):
        numbers[decode(instances[value - 1].rle)] = value
    return numbers


def _write_map(path: Path, values: NDArray[np.integer[Any]]) -> None:
    write_bytes(path, cv2.imencode(".png", values)[1].tobytes())
