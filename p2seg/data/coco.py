"""COCO-style instance files: COCO itself, one's own sets, and the pseudo masks we write."""

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
from p2seg.data.compact_lists import taken
from p2seg.data.instances import BITS, Columns, Instance, PackedInstances, Verdict
from p2seg.data.records import Category, ImageRecord
from p2seg.data.rle import encode
from p2seg.data.schema import is_number, shown
from p2seg.errors import UserError
from p2seg.runtime.files import write_json_object
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
    """A COCO-style instances file, validated.

    Attributes:
        images: in the file's order.
        categories: sorted by id; class k is `categories[k - 1]`.
        instances: for each image, in the order of `images`, its instances in the file's order.
        info: the file's `info` object (provenance).
        notes: counts of what is read differently from how it is written, by kind.

    A set from a file stores images and instances as arrays (`p2seg.data.compact_lists`). Each
    access to an instance creates it and draws its polygons.
    """

    images: Sequence[ImageRecord]
    categories: list[Category]
    instances: Sequence[Sequence[Instance]]
    info: dict[str, Any] = field(default_factory=dict)
    notes: Notes = field(default_factory=Notes, compare=False)

    def taking(self, indices: Sequence[int]) -> InstanceSet:
        """The set of some of the images."""
        return replace(
            self, images=taken(self.images, indices), instances=taken(self.instances, indices)
        )

    def drawn(self) -> InstanceSet:
        """The same set with all polygons drawn, for code that reads each mask more than once."""
        if not isinstance(self.instances, PackedInstances):
            return self
        return replace(self, instances=self.instances.drawn())


def decode(instance: Instance) -> NDArray[np.bool_]:
    """The mask of an instance, `[H, W]` bool."""
    return codec.decode(instance.rle)


def read_instances(
    path: Path,
    what: str = "instances file",
    name_of: Callable[[str], str] | None = None,
) -> InstanceSet:
    """Reads a COCO-style instances file: polygons, compressed and uncompressed RLE, crowds.

    Masks and ids in the forms of other tools are converted (`p2seg.data.coco_variants`), and each
    kind of conversion is printed with its count. An annotation without polygons and
    without a box is an instance with an empty mask. Besides COCO's own fields there are those of
    our pseudo masks: `score`, `point` ([x, y]), `default_box`, `from_seed` and
    `review`.

    Args:
        path: the file.
        what: what the file should be, for the error ("pseudo masks").
        name_of: converts a `file_name` of another tool to a path below the image folder; None: it
            is one already.

    Returns:
        The validated set.

    Raises:
        UserError: the file is missing, no JSON or not of this form; the sentence says where.
    """
    columns = Columns()

    def take(id: int, content: dict[str, Any], place: int, images: Images, notes: Notes) -> None:
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

    document = read_coco_file(path, what, take, name_of=name_of)
    document.notes[ALL_CROWDS] += columns.without_lone_crowds()
    for note in sentences_of(document.notes):
        console.print(f"{path}: {note}", markup=False)
    instances = PackedInstances(
        columns,
        document.ids,
        document.labels,
        document.rows,
        document.starts,
        document.images.sides,
    )
    return InstanceSet(
        document.images, document.categories, instances, document.info, +document.notes
    )


def write_instances(path: Path, instances: InstanceSet) -> None:
    """Writes a COCO-style instances file that is valid COCO ground truth.

    `read_instances` gives the same set back. Masks are compressed RLE; area and box are theirs.

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
    """The JSON object that describes an instance."""
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
            return codec.checked(content.get("segmentation"), height, width)
    content = repaired(content, (height, width), notes)
    if "segmentation" not in content:
        raise UserError(
            f"annotation {id} has no segmentation; give it polygons or an RLE "
            "(a file of points is read as data.points)"
        )
    try:
        return codec.checked(content["segmentation"], height, width)
    except ValueError as error:
        name = images.packed[place].file_name
        raise UserError(f"annotation {id} of image {name} {error}") from error


def _verdict(content: dict[str, Any], id: int) -> Verdict:
    value = content.get("review", "")
    if not isinstance(value, str) or value not in BITS:
        raise UserError(
            f"annotation {id} has review {shown(value)}; it is accepted or rejected, or not there"
        )
    return value


def _flag(content: dict[str, Any], key: str, id: int) -> bool:
    value = content.get(key, False)
    if type(value) not in (bool, int) or value not in (0, 1):
        raise UserError(f"annotation {id} has {key} {shown(value)}; it must be 0 or 1")
    return bool(value)
