"""Label maps: every pixel's instance and class as PNGs, as VOC has them."""

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

DEEPEST = 65535
"""The largest value of 16 bits."""


class LabelMaps(Format):
    """`instances/PLACE.png`, `instances/PLACE.json`, `classes/PLACE.png` and, once, `classes.json`.

    The first is a 16-bit map: pixel k belongs to the k-th instance of the JSON beside it, 0 to
    none; where instances overlap, the better one is seen. The JSON says each one's class and score.
    The second map has the classes 1..C (8 bits; 16 where there are more than 255), 0 for none, and
    `classes.json` their names: a class map as `semantic.class_map` takes it.
    """

    def _begin(self) -> None:
        names = {str(label): each.name for label, each in enumerate(self.categories, start=1)}
        write_json(self.folder / "classes.json", {"0": "background"} | names, indent=2)

    def _write(
        self,
        place: str,
        record: ImageRecord,
        source: Source,  # noqa: ARG002 - the maps need no picture
        instances: Sequence[Labeled],
    ) -> None:
        if len(instances) > DEEPEST:
            raise UserError(
                f"image {record.file_name} has {len(instances)} instances, but a map of 16 bits "
                f"holds {DEEPEST}; raise the least score"
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
    """The number of the instance that is seen at each pixel.

    Args:
        record: of the image.
        instances: at most 65535, the best first.

    Returns:
        `[H, W]` uint16: 1 for the first instance, 0 for none.
    """
    numbers = np.zeros((record.height, record.width), np.uint16)
    for value in range(len(instances), 0, -1):
        numbers[decode(instances[value - 1].rle)] = value
    return numbers


def _write_map(path: Path, values: NDArray[np.integer[Any]]) -> None:
    write_bytes(path, cv2.imencode(".png", values)[1].tobytes())
