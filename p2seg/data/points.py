"""The points file: one click an object, the only labels the method is given.

The file is COCO-style JSON::

    {"info": {"sampler": "inner", "seed": 0, "source": "...", "source_sha256": "..."},
     "images": [{"id": 1, "file_name": "a.jpg", "width": 640, "height": 480}],
     "annotations": [{"id": 7, "image_id": 1, "category_id": 3, "point": [x, y]}],
     "categories": [{"id": 3, "name": "bird"}]}

`point` is in pixels, the center of the first pixel at (0, 0). `info` may hold anything, and an
image without annotations is allowed.
"""

from __future__ import annotations

import hashlib
import json
from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from p2seg.data.coco import Category, ImageRecord, Instance, InstanceSet, decode
from p2seg.data.coco_reader import Images, point_of, read_coco_file
from p2seg.data.coco_variants import CROWDS, Notes
from p2seg.data.compact_lists import PackedPoints, taken
from p2seg.data.journal import check_no_journal
from p2seg.data.records import PackedImages
from p2seg.errors import UserError
from p2seg.runtime.files import write_json_object
from p2seg.structures import IGNORED, Points

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class PointSet:
    """A points file, validated.

    Attributes:
        images: in the file's order.
        categories: sorted by id; class k is `categories[k - 1]`.
        points: for each image, in the order of `images`, its points; `ids` are annotation ids.
        info: the file's `info` object (provenance).

    A set from a file stores images and points as arrays (`p2seg.data.compact_lists`).
    """

    images: Sequence[ImageRecord]
    categories: list[Category]
    points: Sequence[Points]
    info: dict[str, Any] = field(default_factory=dict)

    def taking(self, indices: Sequence[int]) -> PointSet:
        """The set of some of the images."""
        return replace(self, images=taken(self.images, indices), points=taken(self.points, indices))


def read_points(path: Path, *, journal: bool = False) -> PointSet:
    """Reads a points file.

    Args:
        path: the file.
        journal: the caller reads the file's journal too (`p2seg.data.journal`).

    Returns:
        The validated set.

    Raises:
        UserError: the file is missing, no JSON or not of the form above, a point lies outside its
            image, there are more classes than a semantic map can hold, or the file's journal holds
            changes.
    """
    if not journal:
        check_no_journal(path)
    places = array("d")

    def take(id: int, content: dict[str, Any], place: int, images: Images, _: Notes) -> None:
        if "point" not in content:
            raise UserError(
                f"annotation {id} has no point; give it one, [x, y] in pixels "
                "(tools/make_points.py makes points from masks)"
            )
        places.extend(point_of(content["point"], id, place, images))

    document = read_coco_file(path, "points file", take, ours=True)
    if len(document.categories) >= IGNORED:
        raise UserError(
            f"{path}: it has {len(document.categories)} categories; a semantic map holds at most "
            f"{IGNORED - 1}: remove those without points"
        )
    rows = document.rows
    yx = np.asarray(places).reshape(-1, 2)[rows].astype(np.float32)
    # float32 may round a point just inside the last pixel's edge onto it, which is outside
    edges = np.nextafter(document.images.sides.astype(np.float32), np.float32(0))
    yx = np.minimum(yx, np.repeat(edges, np.diff(document.starts), 0))
    points = PackedPoints(yx, document.labels[rows], document.ids[rows], document.starts)
    return PointSet(document.images, document.categories, points, document.info)


def write_points(path: Path, points: PointSet) -> None:
    """Writes a points file; `read_points` gives the same set back.

    Args:
        path: the file, written atomically.
        points: the set.
    """
    annotations = (
        {
            "id": id,
            "image_id": image.id,
            "category_id": points.categories[label - 1].id,
            "point": [x, y],
        }
        for image, group in zip(points.images, points.points, strict=True)
        for id, label, (y, x) in zip(
            group.ids.tolist(), group.labels.tolist(), group.yx.tolist(), strict=True
        )
    )
    write_json_object(
        path,
        {
            "info": points.info,
            "images": map(vars, points.images),
            "annotations": annotations,
            "categories": map(vars, points.categories),
        },
    )


def points_fingerprint(points: PointSet) -> str:
    """The SHA-256 of what a points file means.

    Two files have the same fingerprint if and only if every command does the same with them. The
    fingerprint covers classes (id, name), images (id, file name, size) and points (id, class,
    place). It covers neither `info` nor the layout of the file, for instance whitespace, the order
    of keys, and the order of the categories. The order of the images counts because it decides the
    order of training, and so does the order of the points of one image: of two points on one pixel
    the first wins. How the points of different images are mixed in the file does not count.

    Args:
        points: the set.

    Returns:
        64 hexadecimal digits.
    """
    images, own = PackedImages.of(points.images), PackedPoints.of(points.points)
    yx, labels, ids = own.arrays()
    head = [[[each.id, each.name] for each in points.categories], images.names]
    digest = hashlib.sha256(json.dumps(head).encode())
    for values, kind in [
        (images.ids, "<i8"),
        (images.sides, "<i8"),
        (own.counts, "<i8"),
        (ids, "<i8"),
        (labels, "<i8"),
        (yx + np.float32(0), "<f4"),  # -0.0 is 0.0
    ]:
        digest.update(values.astype(kind).tobytes())
    return digest.hexdigest()


def make_points(instances: InstanceSet, sampler: str, seed: int, jitter: float = 0.0) -> PointSet:
    """One point an instance; crowds and empty masks get none.

    The point of an instance depends on its mask, its id and the seed alone, not on what else the
    set holds.

    Args:
        instances: the masks.
        sampler: `inner` (the pixel farthest from the mask's edge), `box_center`, `centroid` (both
            may lie outside the mask) or `random` (any pixel of the mask).
        seed: of `random` and of the jitter, from 0 up.
        jitter: the share of the mask's box by which a point is moved at most, up or down and left
            or right, 0..1; it may leave the mask, not the image.

    Returns:
        The points; `info` names sampler, seed and jitter, and in `left_out` how many instances have
        no point and why.

    Raises:
        UserError: there is no such sampler, the seed is negative, or the jitter beyond its range.
    """
    if sampler not in SAMPLERS:
        raise UserError(f"there is no sampler {sampler!r}; choose from {', '.join(SAMPLERS)}")
    if type(seed) is not int or seed < 0:
        raise UserError(f"the seed is {seed!r}; give a whole number from 0 up")
    if type(jitter) not in (int, float) or not 0 <= jitter <= 1:
        raise UserError(f"jitter={jitter!r} cannot be; it is a share of an object's box, 0 to 1")
    left_out = Counter[str]()
    points = PackedPoints.packed(
        _clicks(group, sampler, seed, jitter, left_out) for group in instances.instances
    )
    info: dict[str, Any] = {"sampler": sampler, "seed": seed, "jitter": jitter}
    return PointSet(
        images=instances.images,
        categories=instances.categories,
        points=points,
        info={**info, "left_out": dict(left_out)} if left_out else info,
    )


def _clicks(
    group: Sequence[Instance], sampler: str, seed: int, jitter: float, left_out: Counter[str]
) -> Points:
    """The points of an image's instances that have one."""
    clicked = [(instance, _click(instance, sampler, seed, jitter)) for instance in group]
    found = [(instance, yx) for instance, yx in clicked if yx is not None]
    left_out.update(_kind(instance) for instance, yx in clicked if yx is None)
    return _tensors(
        [yx for _, yx in found],
        [instance.label for instance, _ in found],
        [instance.id for instance, _ in found],
    )


def _kind(instance: Instance) -> str:
    """What an instance without a point is."""
    if instance.review == "rejected":
        return "rejected masks"
    return CROWDS if instance.crowd else "masks without a pixel"


def _click(
    instance: Instance, sampler: str, seed: int, jitter: float
) -> tuple[float, float] | None:
    """The point (y, x) of an instance; None for a crowd or an empty mask."""
    mask = decode(instance)
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if instance.crowd or not len(rows):
        return None
    top, left = int(rows[0]), int(columns[0])
    tight = mask[top : rows[-1] + 1, left : columns[-1] + 1]
    rng = np.random.default_rng([seed, instance.id])
    place = np.array([top, left]) + SAMPLERS[sampler](tight, rng)
    if jitter:
        moved = place + rng.uniform(-jitter, jitter, 2) * tight.shape
        place = moved.clip(0, np.array(mask.shape) - 1)
    return float(place[0]), float(place[1])


def _inner(mask: Mask, _: np.random.Generator) -> tuple[float, float]:
    """The first maximum of the distance to the nearest pixel outside the mask."""
    padded = np.pad(mask, 1).astype(np.uint8)  # the image's edge counts as the mask's edge
    distance = cv2.distanceTransform(padded, cv2.DIST_L2, 3)
    y, x = divmod(int(distance.argmax()), padded.shape[1])
    return y - 1, x - 1


def _box_center(mask: Mask, _: np.random.Generator) -> tuple[float, float]:
    """The center of the mask's box; the mask fills its array."""
    height, width = mask.shape
    return (height - 1) / 2, (width - 1) / 2


def _centroid(mask: Mask, _: np.random.Generator) -> tuple[float, float]:
    """The mean of the mask's pixels."""
    y, x = np.nonzero(mask)
    return float(y.mean()), float(x.mean())


def _random(mask: Mask, rng: np.random.Generator) -> tuple[float, float]:
    """Any pixel of the mask, each as likely."""
    pixels = np.flatnonzero(mask)
    y, x = divmod(int(rng.choice(pixels)), mask.shape[1])
    return y, x


SAMPLERS: dict[str, Callable[[Mask, np.random.Generator], tuple[float, float]]] = {
    "inner": _inner,
    "box_center": _box_center,
    "centroid": _centroid,
    "random": _random,
}


def _tensors(yx: list[tuple[float, float]], labels: list[int], ids: list[int]) -> Points:
    return Points(
        yx=torch.tensor(yx, dtype=torch.float32).reshape(-1, 2),
        labels=torch.tensor(labels, dtype=torch.int64),
        ids=torch.tensor(ids, dtype=torch.int64),
    )
