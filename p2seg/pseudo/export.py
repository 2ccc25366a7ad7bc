"""Pseudo masks: exactly one instance a point, written as a COCO ground-truth file."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from p2seg.data.coco import ImageRecord, Instance, InstanceSet, encode, write_instances
from p2seg.data.dataset import Reader
from p2seg.data.points import PointSet
from p2seg.errors import UserError
from p2seg.files import fingerprint
from p2seg.pseudo.infer import Labelled, Labeller
from p2seg.structures import Points

DEFAULT_SCORE = 0.5
"""Score of the box that stands for a point which no pixel claimed."""


@dataclass(frozen=True)
class MaskRules:
    """How masks are made of an instance map.

    Attributes:
        min_pixels: a smaller mask counts as unclaimed.
        default_box: side in pixels of the box that an unclaimed point gets. Paper: Sec. 3.1, 16.
    """

    min_pixels: int = 16
    default_box: int = 16


def masks_of(labelled: Labelled, points: Points, image_id: int, rules: MaskRules) -> list[Instance]:
    """One instance a point.

    Args:
        labelled: whose every pixel is.
        points: of the image.
        image_id: unused in the masks, named in errors.
        rules: for small masks.

    Returns:
        K instances, in the order of the points, with the points' ids.
    """
    del image_id
    owner = labelled.instances.numpy()
    area = np.bincount(owner.reshape(-1), minlength=len(points) + 1)
    made = []
    for k, (y, x) in enumerate(points.yx.tolist()):
        claimed = int(area[k + 1]) >= rules.min_pixels
        mask = owner == k + 1 if claimed else box_mask(owner.shape, y, x, rules.default_box)
        made.append(
            Instance(
                id=int(points.ids[k]),
                label=int(points.labels[k]),
                rle=encode(mask),
                score=round(float(labelled.scores[k]), 6) if claimed else DEFAULT_SCORE,
                point=(y, x),
                default_box=not claimed,
            )
        )
    return made


def box_mask(shape: tuple[int, ...], y: float, x: float, side: int) -> npt.NDArray[np.bool_]:
    """A square around a point, shifted to lie inside an image of `shape` (cut if too large)."""
    mask = np.zeros(shape, dtype=bool)
    top = max(0, min(int(y) - side // 2, shape[0] - side))
    left = max(0, min(int(x) - side // 2, shape[1] - side))
    mask[top : top + side, left : left + side] = True
    return mask


class Shards:
    """Finished images of an export that is under way: a folder of JSON lines, one file a rank.

    Args:
        out: the file that the export will write.
        key: fingerprint of everything that decides the result; lines of another are not used.
        rank: of this process.
    """

    def __init__(self, out: Path, key: str, rank: int) -> None:
        self.folder = out.with_name(out.name + ".parts")
        self.key = key
        self.rank = rank

    def finished(self) -> dict[int, list[dict[str, Any]]]:
        """Instances of every finished image, by image id."""
        done: dict[int, list[dict[str, Any]]] = {}
        for path in sorted(self.folder.glob("*.jsonl")):
            for line in path.read_text().splitlines():
                try:
                    record = json.loads(line)
                except ValueError:
                    continue  # the line that was being written when the process was killed
                if record["key"] == self.key:
                    done[record["image_id"]] = record["instances"]
        return done

    def add(self, image_id: int, instances: list[Instance]) -> None:
        """Keeps a finished image."""
        self.folder.mkdir(parents=True, exist_ok=True)
        packed = [_packed(instance) for instance in instances]
        line = json.dumps({"key": self.key, "image_id": image_id, "instances": packed})
        with (self.folder / f"{self.rank}.jsonl").open("a") as stream:
            stream.write("\n" + line)  # a newline first: the line before may be torn
            stream.flush()

    def remove(self) -> None:
        """Removes the folder, once the export is written."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _packed(instance: Instance) -> dict[str, Any]:
    rle = {"size": list(instance.rle["size"]), "counts": instance.rle["counts"].decode()}
    return {**vars(instance), "rle": rle}


def _unpacked(packed: dict[str, Any]) -> Instance:
    rle = {"size": packed["rle"]["size"], "counts": packed["rle"]["counts"].encode()}
    return Instance(**{**packed, "rle": rle, "point": tuple(packed["point"])})


def label_images(
    points: PointSet,
    reader: Reader,
    labeller: Labeller,
    rules: MaskRules,
    shards: Shards,
    on_error: str,
    rank: int = 0,
    world: int = 1,
) -> Iterable[str | None]:
    """Labels this rank's share of the images that are not finished yet.

    Args:
        points: all images.
        reader: of images and maps.
        labeller: gives pixels their owners.
        rules: for small masks.
        shards: where finished images are kept.
        on_error: `raise`, or `skip` images that cannot be used.
        rank: of this process.
        world: processes.

    Yields:
        After every image None, or the sentence that says why it was skipped.
    """
    done = shards.finished()
    for index in range(rank, len(points.images), world):
        record, own = points.images[index], points.points[index]
        if record.id in done:
            yield None
            continue
        try:
            labelled = _labelled(record, own, reader, labeller)
        except UserError as error:
            if on_error != "skip":
                raise
            yield str(error)
            continue
        shards.add(record.id, masks_of(labelled, own, record.id, rules))
        yield None


def _labelled(record: ImageRecord, points: Points, reader: Reader, labeller: Labeller) -> Labelled:
    if not len(points):
        nothing = torch.zeros(record.height, record.width, dtype=torch.long)
        return Labelled(nothing, nothing, torch.zeros(0))
    image: Tensor | None = reader.image(record) if labeller.needs_image else None
    return labeller(image, points, reader.map(record, points))


def write_pseudo(
    out: Path, points: PointSet, shards: Shards, info: dict[str, Any], skipped: list[str]
) -> InstanceSet:
    """Puts the finished images of all ranks together and writes the file.

    Args:
        out: the COCO-style json.
        points: all images; those skipped are left out of the file.
        shards: finished images.
        info: provenance.
        skipped: sentences of the images that could not be used.
    """
    done = shards.finished()
    images = [record for record in points.images if record.id in done]
    pseudo = InstanceSet(
        images=images,
        categories=points.categories,
        instances=[[_unpacked(each) for each in done[record.id]] for record in images],
        info={**info, "skipped": skipped},
    )
    write_instances(out, pseudo)
    shards.remove()
    return pseudo


def export_key(*parts: Any) -> str:
    """Fingerprint of everything that decides an export."""
    return fingerprint([str(part) if isinstance(part, os.PathLike) else part for part in parts])
