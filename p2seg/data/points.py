"""The points file: one click per object, the only labels of the method.

The file is COCO-style JSON::

    {"info": {"sampler": "inner", "seed": 0, "source": "...", "source_sha256": "..."},
     "images": [{"id": 1, "file_name": "a.jpg", "width": 640, "height": 480}],
     "annotations": [{"id": 7, "image_id": 1, "category_id": 3, "point": [x, y]}],
     "categories": [{"id": 3, "name": "bird"}]}

`point` is in pixels; the center of the first pixel is (0, 0). `info` can have any content, and an
image can have no annotations.
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
from p2seg.data.compact_lists import PackedPoints, subset_of
from p2seg.data.journal import check_no_journal
from p2seg.data.records import PackedImages
from p2seg.errors import UserError
from p2seg.runtime.json_streams import write_json_object
from p2seg.structures import IGNORED, Points

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class PointSet:
    """A validated points file.

    A set from a file stores images and points as arrays (`p2seg.data.compact_lists`).

    Attributes:
        images: in the order of the file.
        categories: sorted by id; class k is `categories[k - 1]`.
        points: the points of each image, in the order of `images`; `ids` are annotation ids.
        info: the `info` object of the file (provenance).
    """

    images: Sequence[ImageRecord]
    categories: list[Category]
    points: Sequence[Points]
    info: dict[str, Any] = field(default_factory=dict)

    def subset(self, indices: Sequence[int]) -> PointSet:
        """The set of the images at some indices."""
        images, points = subset_of(self.images, indices), subset_of(self.points, indices)
        return replace(self, images=images, points=points)


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
    coordinates = array("d")

    def visit(id: int, content: dict[str, Any], place: int, images: Images, _: Notes) -> None:
        if "point" not in content:
            raise UserError(
                f"annotation {id} has no point; it must be [x, y] in pixels "
                "(p2seg make_points computes points from masks)"
            )
        coordinates.extend(point_of(content["point"], id, place, images))

    file = read_coco_file(path, "points file", visit, ours=True)
    if len(file.categories) >= IGNORED:
        raise UserError(
            f"{path}: it has {len(file.categories)} categories, but a semantic map has at most "
            f"{IGNORED - 1}; remove those without points"
        )
    rows = file.rows
    yx = np.asarray(coordinates).reshape(-1, 2)[rows].astype(np.float32)
    # float32 can round a point inside the image to the far edge, which is outside
    edges = np.nextafter(file.images.sides.astype(np.float32), np.float32(0))
    yx = np.minimum(yx, np.repeat(edges, np.diff(file.starts), 0))
    points = PackedPoints(yx, file.labels[rows], file.ids[rows], file.starts)
    return PointSet(file.images, file.categories, points, file.info)


def write_points(path: Path, points: PointSet) -> None:
    """Writes a points file; `read_points` returns the same set.

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
    """The SHA-256 of the content of a points file, as 64 hexadecimal digits.

    Two files have the same fingerprint if and only if all commands have the same results for them.
    It covers classes (id, name), images (id, file name, size, order) and points (id, class,
    coordinates, order within an image). The order of images determines the order of training. Of
    two points on one pixel, the first one labels it. The fingerprint does not cover `info`, white
    space, the order of keys or categories, or how points of different images are interleaved.
    """
    images, groups = PackedImages.of(points.images), PackedPoints.of(points.points)
    yx, labels, ids = groups.arrays()
    head = [[[each.id, each.name] for each in points.categories], images.names]
    digest = hashlib.sha256(json.dumps(head).encode())
    for values, kind in [
        (images.ids, "<i8"),
        (images.sides, "<i8"),
        (groups.counts, "<i8"),
        (ids, "<i8"),
        (labels, "<i8"),
        (yx + np.float32(0), "<f4"),  # -0.0 is 0.0
    ]:
        digest.update(values.astype(kind).tobytes())
    return digest.hexdigest()


def make_points(instances: InstanceSet, sampler: str, seed: int, jitter: float = 0.0) -> PointSet:
    """Samples one point per instance, without crowds and empty masks.

    The point of an instance depends only on its mask, its id and the seed, not on other instances.

    Args:
        instances: the masks.
        sampler: `inner` (the pixel farthest from the edge of the mask), `box_center`, `centroid`
            (both can lie outside the mask) or `random` (any pixel of the mask).
        seed: random seed of `random` and of the jitter, an integer >= 0.
        jitter: largest shift of a point in each direction, 0..1, as a share of the bounding box; a
            point can leave the mask, but not the image.

    Returns:
        The points; `info` has sampler, seed and jitter, and in `left_out` the number of instances
        without a point by reason.

    Raises:
        UserError: `sampler`, `seed` or `jitter` is invalid.
    """
    if sampler not in SAMPLERS:
        raise UserError(f"there is no sampler {sampler!r}; choose from {', '.join(SAMPLERS)}")
    if type(seed) is not int or seed < 0:
        raise UserError(f"seed={seed!r}: must be an integer >= 0")
    if type(jitter) not in (int, float) or not 0 <= jitter <= 1:
        raise UserError(f"jitter={jitter!r}: must be a share of the object's bounding box in 0..1")
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
    """The points of the instances of an image; counts the instances without a point."""
    pairs = [(instance, _click(instance, sampler, seed, jitter)) for instance in group]
    clicks = [(instance, yx) for instance, yx in pairs if yx is not None]
    left_out.update(_reason(instance) for instance, yx in pairs if yx is None)
    return Points(
        torch.tensor([yx for _, yx in clicks], dtype=torch.float32).reshape(-1, 2),
        torch.tensor([instance.label for instance, _ in clicks], dtype=torch.int64),
        torch.tensor([instance.id for instance, _ in clicks], dtype=torch.int64),
    )


def _reason(instance: Instance) -> str:
    """Why an instance has no point."""
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
    crop = mask[top : rows[-1] + 1, left : columns[-1] + 1]
    rng = np.random.default_rng([seed, instance.id])
    yx = np.array([top, left]) + SAMPLERS[sampler](crop, rng)
    if jitter:
        shift = rng.uniform(-jitter, jitter, 2) * crop.shape
        yx = (yx + shift).clip(0, np.array(mask.shape) - 1)
    return float(yx[0]), float(yx[1])


def _inner(mask: Mask, _: np.random.Generator) -> tuple[float, float]:
    """The pixel with the largest distance to the nearest pixel outside the mask."""
    padded = np.pad(mask, 1).astype(np.uint8)  # the edge of the image is an edge of the mask
    distance = cv2.distanceTransform(padded, cv2.DIST_L2, 3)
    y, x = divmod(int(distance.argmax()), padded.shape[1])
    return y - 1, x - 1


def _box_center(mask: Mask, _: np.random.Generator) -> tuple[float, float]:
    """The center of the bounding box, which is the whole array."""
    height, width = mask.shape
    return (height - 1) / 2, (width - 1) / 2


def _centroid(mask: Mask, _: np.random.Generator) -> tuple[float, float]:
    """The mean of the pixels of the mask."""
    y, x = np.nonzero(mask)
    return float(y.mean()), float(x.mean())


def _random(mask: Mask, rng: np.random.Generator) -> tuple[float, float]:
    """A pixel of the mask, drawn uniformly."""
    pixels = np.flatnonzero(mask)
    y, x = divmod(int(rng.choice(pixels)), mask.shape[1])
    return y, x


SAMPLERS: dict[str, Callable[[Mask, np.random.Generator], tuple[float, float]]] = {
    "inner": _inner,
    "box_center": _box_center,
    "centroid": _centroid,
    "random": _random,
}
