"""The steps before a pseudo mask: initial semantic map, seed, and the network's rounds."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from p2seg.data.coco import InstanceSet
from p2seg.data.dataset import Reader
from p2seg.data.points import PointSet
from p2seg.data.records import ImageRecord
from p2seg.errors import UserError
from p2seg.method.seed import Seeder
from p2seg.pseudo.network import NetworkLabeler
from p2seg.structures import Points


def clicks_of(pred: InstanceSet) -> PointSet:
    """Returns the clicks from which pseudo masks were made.

    Raises:
        UserError: a mask has no click.
    """
    groups = []
    for image, masks in zip(pred.images, pred.instances, strict=True):
        yx = [each.point for each in masks if each.point is not None]
        if len(yx) < len(masks):
            raise UserError(
                f"a mask of {image.file_name} has no click; use masks written by p2seg gen_pseudo"
            )
        groups.append(
            Points(
                torch.tensor(yx, dtype=torch.float32).reshape(-1, 2),
                torch.tensor([each.label for each in masks], dtype=torch.int64),
                torch.tensor([each.id for each in masks], dtype=torch.int64),
            )
        )
    return PointSet(pred.images, pred.categories, groups, pred.info)


@dataclass(frozen=True)
class Stage:
    """An image at one stage.

    Attributes:
        name: one of `Stages.names`.
        labels: `[H, W]` int64: classes, 255 for ignored; or 0 for none and k + 1 for point k.
        ids: ids of the points; None if the labels are classes.
    """

    name: str
    labels: Tensor
    ids: list[int] | None


@dataclass
class Stages:
    """Computes the stages of images.

    Attributes:
        points: the images of the mask file, and the clicks of its masks.
        reader: reads the initial semantic maps.
        seeder: makes the first instances.
        labeler: the network and its rounds, or None.
    """

    points: PointSet
    reader: Reader
    seeder: Seeder
    labeler: NetworkLabeler | None = None
    _place: dict[int, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._place = {image.id: place for place, image in enumerate(self.points.images)}

    @property
    def names(self) -> list[str]:
        """The names of the stages in their order."""
        names = ["semantic", "seed"]
        if self.labeler is not None:
            rounds = 0 if self.labeler.mdm is None else self.labeler.rounds
            names += ["network", *(f"round {t}" for t in range(1, rounds + 1))]
        return names

    def points_of(self, record: ImageRecord) -> Points:
        """Returns the points of an image."""
        return self.points.points[self._place[record.id]]

    @torch.inference_mode()
    def of(self, record: ImageRecord, image: Tensor) -> list[Stage]:
        """Computes the stages of an image.

        Args:
            record: id, name and size of the image.
            image: `[3, H, W]` uint8.

        Raises:
            UserError: the initial semantic map is unreadable.
        """
        points = self.points_of(record)
        initial_map = self.reader.map(record, points)
        stages = [Stage("semantic", initial_map, None)]
        if not len(points):
            return stages
        ids = points.ids.tolist()
        seed = self.seeder(initial_map[None], [points], image[None]).instances[0]
        stages.append(Stage("seed", seed, ids))
        if self.labeler is None:
            return stages
        image, initial_map = image.to(self.labeler.device), initial_map.to(self.labeler.device)
        outputs = self.labeler.outputs(image, points)
        maps = self.labeler.maps(outputs, points, initial_map)
        for name, semantic in zip(self.names[2:], maps, strict=True):
            labeled = self.labeler.labeled(semantic, outputs, image, points, initial_map)
            stages.append(Stage(name, labeled.instances, ids))
        return stages
