"""COCO-style instance files: COCO itself, other data sets, and p2seg's pseudo masks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from p2seg.data import rle as codec
from p2seg.data.coco_reader import Images, point_of, read_coco_file
from p2seg.data.coco_variants import ALL_CROWDS, Notes, is_crowd, is_odd, repaired, sentences_of
from p2seg.data.compact_lists import subset_of
from p2seg.data.instances import BITS, Columns, Instance, PackedInstances, Verdict
from p2seg.data.records import Category, ImageRecord
from p2seg.data.rle import encode
from p2seg.data.schema import is_number, shown
from p2seg.errors import UserError
from p2seg.runtime.json_streams import write_json_object
from p2seg.runtime.progress import console

__all__ = [
    "Category",
    "ImageRecord",
    "Instance",
    "InstanceSet",
    "decode",
    "encode",
    "read_instances",
    "write_instances",
]


@dataclass(frozen=True)
class InstanceSet:
    """A validated COCO-style instances file.

    A set from a file stores images and instances as arrays (`p2seg.data.compact_lists`). Each
    access to an instance creates it and rasterizes its polygons.

    Attributes:
        images: in the order of the file.
        categories: sorted by id; class k is `categories[k - 1]`.
        instances: the instances of each image, in the order of `images` and of the file.
        info: the `info` object of the file (provenance).
        notes: counts of converted values, by kind.
    """

    images: Sequence[ImageRecord]
    categories: list[Category]
    instances: Sequence[Sequence[Instance]]
    info: dict[str, Any] = field(default_factory=dict)
    notes: Notes = field(default_factory=Notes, compare=False)

    def subset(self, indices: Sequence[int]) -> InstanceSet:
        """The set of the images at some indices."""
        return replace(
            self,
            images=subset_of(self.images, indices),
            instances=subset_of(self.instances, indices),
        )

    def rasterized(self) -> InstanceSet:
        """The set with polygons as RLEs, for code that reads each mask more than once."""
        if not isinstance(self.instances, PackedInstances):
            return self
        return replace(self, instances=self.instances.rasterized())


def decode(instance: Instance) -> NDArray[np.bool_]:
    """The mask of an instance, `[H, W]` bool."""
    return instance.mask


def read_instances(
    path: Path,
    what: str = "instances file",
    name_of: Callable[[str], str] | None = None,
) -> InstanceSet:
    """Reads a COCO-style instances file: polygons, compressed and uncompressed RLE, crowds.

    Masks and ids in the forms of other tools are converted (`p2seg.data.coco_variants`), and each
    kind of conversion is printed with its count. An annotation without polygons and without a box
    is an instance with an empty mask. The fields of pseudo masks are read as well: `score`, `point`
    ([x, y]), `default_box`, `from_seed` and `review`.

    Args:
        path: the file.
        what: what the file should be, for the error ("pseudo masks").
        name_of: converts a `file_name` to a path below the image folder; None: no conversion.

    Returns:
        The validated set.

    Raises:
        UserError: the file is missing, not JSON or not in COCO's format; the message says where.
    """
    columns = Columns()

    def visit(id: int, content: dict[str, Any], place: int, images: Images, notes: Notes) -> None:
        mask = _mask(id, content, place, images, notes)
        score = content.get("score", 1.0)
        if not is_number(score) or not 0 <= score <= 1:
            raise UserError(f"annotation {id} has score {shown(score)}; it must be in 0..1")
        point, review = content.get("point"), _verdict(content, id)
        columns.add(
            mask,
            score,
            None if point is None else point_of(point, id, place, images),
            crowd=is_crowd(content, id, notes) or review == "rejected",
            default_box=_flag(content, "default_box", id),
            from_seed=_flag(content, "from_seed", id),
            review=review,
        )

    file = read_coco_file(path, what, visit, name_of=name_of)
    file.notes[ALL_CROWDS] += columns.without_lone_crowds()
    for note in sentences_of(file.notes):
        console.print(f"{path}: {note}", markup=False)
    instances = PackedInstances(
        columns, file.ids, file.labels, file.rows, file.starts, file.images.sides
    )
    return InstanceSet(file.images, file.categories, instances, file.info, +file.notes)


def write_instances(path: Path, instances: InstanceSet) -> None:
    """Writes a COCO-style instances file that is valid COCO ground truth.

    `read_instances` returns the same set. Masks are compressed RLEs; `area` and `bbox` are computed
    from the masks.

    Args:
        path: the file, written atomically.
        instances: the set.
    """
    annotations = (
        _annotation(instance, image, instances.categories)
        for image, group in zip(instances.images, instances.instances, strict=True)
        for instance in group
    )
    write_json_object(
        path,
        {
            "info": instances.info,
            "images": map(vars, instances.images),
            "annotations": annotations,
            "categories": map(vars, instances.categories),
        },
    )


def _annotation(
    instance: Instance, image: ImageRecord, categories: list[Category]
) -> dict[str, Any]:
    """The JSON object of an instance."""
    annotation = {
        "id": instance.id,
        "image_id": image.id,
        "category_id": categories[instance.label - 1].id,
        "segmentation": {
            "size": instance.rle["size"],
            "counts": instance.rle["counts"].decode("ascii"),
        },
        "area": codec.area(instance.rle),
        "bbox": codec.box(instance.rle),
        "iscrowd": int(instance.crowd),
        "score": instance.score,
    }
    if instance.point is not None:
        y, x = instance.point
        annotation["point"] = [x, y]
    if instance.default_box:
        annotation["default_box"] = True
    if instance.from_seed:
        annotation["from_seed"] = True
    if instance.review:
        annotation["review"] = instance.review
    return annotation


def _mask(id: int, content: dict[str, Any], place: int, images: Images, notes: Notes) -> codec.Mask:
    height, width = images.sizes[place]
    if not is_odd(content, height, width):
        with suppress(ValueError):
            return codec.check_segmentation(content.get("segmentation"), height, width)
    content = repaired(content, (height, width), notes)
    if "segmentation" not in content:
        raise UserError(
            f"annotation {id} has no segmentation; it must be polygons or an RLE "
            "(set data.points to read a points file)"
        )
    try:
        return codec.check_segmentation(content["segmentation"], height, width)
    except ValueError as error:
        name = images.packed[place].file_name
        raise UserError(f"annotation {id} of image {name} {error}") from error


def _verdict(content: dict[str, Any], id: int) -> Verdict:
    value = content.get("review", "")
    if not isinstance(value, str) or value not in BITS:
        raise UserError(
            f"annotation {id} has review {shown(value)}; it must be accepted, rejected or missing"
        )
    return value


def _flag(content: dict[str, Any], key: str, id: int) -> bool:
    value = content.get(key, False)
    if type(value) not in (bool, int) or value not in (0, 1):
        raise UserError(f"annotation {id} has {key} {shown(value)}; it must be 0 or 1")
    return bool(value)
