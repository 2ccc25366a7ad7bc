"""Semantic maps from ground truth, as an upper bound of the method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from p2seg.data.coco import ImageRecord, Instance, decode, read_instances
from p2seg.data.maps import SemanticMap
from p2seg.errors import UserError
from p2seg.runtime.files import sha256
from p2seg.semantic.degrade import Degrade
from p2seg.semantic.source import MapTask


@dataclass(frozen=True)
class Oracle:
    """The source that paints maps from ground-truth masks.

    Attributes:
        gt: path of the instances file, for messages.
        gt_sha256: SHA-256 of the file.
        classes: names; class k is `classes[k - 1]`.
        images: each image and its instances, by file name.
        degrade: damages of the maps.
    """

    gt: str
    gt_sha256: str
    classes: tuple[str, ...]
    images: dict[str, tuple[ImageRecord, Sequence[Instance]]] = field(repr=False)
    degrade: Degrade = field(default_factory=Degrade)
    name = "oracle"

    @staticmethod
    def read(gt: str, degrade: Degrade | None = None) -> Oracle:
        """The oracle of an instances file.

        Args:
            gt: path of the file.
            degrade: damages of the maps, or None.

        Raises:
            UserError: the file is missing or invalid.
        """
        path = Path(gt).expanduser()
        instances = read_instances(path)
        pairs = zip(instances.images, instances.instances, strict=True)
        return Oracle(
            gt=gt,
            gt_sha256=sha256(path),
            classes=tuple(category.name for category in instances.categories),
            images={record.file_name: (record, own) for record, own in pairs},
            degrade=degrade or Degrade(),
        )

    @property
    def parameters(self) -> dict[str, Any]:
        degrade = {"degrade": self.degrade.parameters} if self.degrade.changes else {}
        return {"gt": self.gt, "gt_sha256": self.gt_sha256, **degrade}

    def inputs(self, task: MapTask) -> list[Path]:  # noqa: ARG002
        return []  # the hash of the ground truth is a parameter

    def __call__(self, task: MapTask) -> SemanticMap:
        if task.classes != self.classes:
            raise UserError(
                f"{self.gt} has the classes {', '.join(self.classes)} but the points file has "
                f"{', '.join(task.classes)}; make the points from this file"
            )
        if task.record.file_name not in self.images:
            raise UserError(
                f"image {task.record.file_name} of the points file is not in {self.gt}; give the "
                "instances file the points were made from"
            )
        record, instances = self.images[task.record.file_name]
        if (record.height, record.width) != task.size:
            raise UserError(
                f"image {record.file_name} is {record.width}x{record.height} in {self.gt} but "
                f"{task.record.width}x{task.record.height} in the points file; make the points "
                "from this file"
            )
        return self.degrade(paint(instances, task.size), record.file_name)


def paint(instances: Sequence[Instance], size: tuple[int, int]) -> SemanticMap:
    """Paints the classes by descending mask area, so that small objects stay on top.

    Args:
        instances: instances of one image. Crowds are skipped.
        size: (height, width), pixels.

    Returns:
        `[H, W]` uint8: 0 background, 1..C.
    """
    semantic = np.zeros(size, np.uint8)
    masks = [(each.label, decode(each)) for each in instances if not each.crowd]
    for label, mask in sorted(masks, key=lambda pair: -int(pair[1].sum())):
        semantic[mask] = label
    return semantic
