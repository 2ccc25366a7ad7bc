"""Reader of the images, categories and annotations of a COCO-style JSON file.

Instance files and points files share it. It checks ids, names, sizes and references.
"""

from __future__ import annotations

import gc
import posixpath
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from p2seg.data.coco_variants import Notes, whole
from p2seg.data.compact_lists import ends
from p2seg.data.json_lists import read_lists
from p2seg.data.records import Category, ImageRecord, PackedImages
from p2seg.data.rle import MAX_PIXELS
from p2seg.data.schema import (
    DEEPEST,
    any_file_name,
    categories_of,
    check_object,
    classes_of,
    file_name_of,
    id_of,
    kind_of,
    list_of,
    naming,
    shown,
    storable,
    xy_inside,
    yx_inside,
)
from p2seg.errors import UserError


class Images(NamedTuple):
    """The images of a file while its annotations are read.

    Attributes:
        packed: the images in the order of the file.
        sizes: (height, width) of each image.
        place_of: the index of each image by its id.
    """

    packed: PackedImages
    sizes: list[tuple[int, int]]
    place_of: dict[int, int]


Visitor = Callable[[int, dict[str, Any], int, Images, Notes], None]
"""Receives an annotation: its id, its JSON object, the index of its image, images and notes."""


@dataclass(frozen=True)
class CocoFile:
    """A COCO-style file with its references checked.

    Attributes:
        images: in the order of the file.
        categories: sorted by id.
        ids: int64, annotation ids in the order of the file.
        labels: int32, class index 1..C of each annotation.
        rows: int64, indices of the annotations in the file, sorted by image in the order of
            `images`, and within an image in the order of the file.
        starts: int64, where in `rows` each image begins, and where the last one ends.
        info: the `info` object of the file.
        notes: counts of converted values, by kind.
    """

    images: PackedImages
    categories: list[Category]
    ids: NDArray[np.int64]
    labels: NDArray[np.int32]
    rows: NDArray[np.int64]
    starts: NDArray[np.int64]
    info: dict[str, Any]
    notes: Notes


def read_coco_file(
    path: Path,
    what: str,
    visit: Visitor,
    *,
    ours: bool = False,
    name_of: Callable[[str], str] | None = None,
) -> CocoFile:
    """Reads a COCO-style JSON file and checks ids, names, sizes and references.

    Annotations are decoded in blocks, so that they are never all in memory.

    Args:
        path: the file.
        what: what the file should be, for the error ("points file").
        visit: called with each annotation in the order of the file; checks and stores its fields.
        ours: the file is in p2seg's own format, where each category is a class.
        name_of: converts a `file_name` to a path below the image folder; None: no conversion.

    Returns:
        The checked file, without the fields that `visit` stores.

    Raises:
        UserError: the file is missing, not JSON or not in COCO's format; the message says where.
    """
    with naming(path), _no_collections():
        content, parts = read_lists(path, what, ("images", "annotations"))
        if not isinstance(content, dict):
            raise UserError(
                f"it is {kind_of(content)}, not a JSON object with images, annotations, categories"
            )
        for key in ("images", "annotations", "categories"):
            list_of(content, key)
        notes = Notes()
        images = _images(chain.from_iterable(parts["images"]), name_of, notes)
        ids, places, category_ids = array("q"), array("q"), array("q")
        for index, item in enumerate(chain.from_iterable(parts["annotations"])):
            check_object(item, "annotations", index)
            id = id_of(item, "id", f"annotations[{index}]", notes)
            where = f"annotation {id}"
            image_id = id_of(item, "image_id", where, notes)
            place = images.place_of.get(image_id)
            if place is None:
                raise UserError(
                    f"{where} has image_id {image_id}, which is not in images; "
                    "fix its image_id or add the image"
                )
            category_ids.append(id_of(item, "category_id", where, notes))
            ids.append(id)
            places.append(place)
            visit(id, item, place, images, notes)
        categories, used = content["categories"], set(category_ids)
        classes = categories_of(categories) if ours else classes_of(categories, used, notes)
        starts = ends(np.bincount(places, minlength=len(images.packed))).numpy()
        return CocoFile(
            images=images.packed,
            categories=classes,
            ids=_unique(np.asarray(ids)),
            labels=_labels(np.asarray(category_ids), ids, classes),
            rows=np.argsort(places, kind="stable"),
            starts=starts,
            info=_info(content),
            notes=notes,
        )


def _info(content: dict[str, Any]) -> dict[str, Any]:
    info = content.get("info")
    if info is not None and not isinstance(info, dict):
        raise UserError(f"its info is {kind_of(info)}; it must be an object, or remove it")
    if not storable(info):
        raise UserError(
            "its info contains NaN, infinity, a lone surrogate or more than "
            f"{DEEPEST} levels; remove that value"
        )
    return info or {}


def point_of(value: Any, id: int, place: int, images: Images) -> tuple[float, float]:
    """The point of an annotation as (y, x), checked to lie on its image.

    Args:
        value: the point `[x, y]`.
        id: annotation id.
        place: index of the image.
        images: the images of the file.

    Raises:
        UserError: the point is invalid or outside the image.
    """
    yx = yx_inside(value, *images.sizes[place])
    return xy_inside(value, id, images.packed[place]) if yx is None else yx


@contextmanager
def _no_collections() -> Iterator[None]:
    """Disables the garbage collector: decoded JSON has no cycles, and the search is slow."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _images(items: Iterable[Any], name_of: Callable[[str], str] | None, notes: Notes) -> Images:
    records: list[ImageRecord] = []
    place_of: dict[int, int] = {}
    ids: dict[str, int] = {}
    for place, item in enumerate(items):
        check_object(item, "images", place)
        id = id_of(item, "id", f"images[{place}]", notes)
        if id in place_of:
            raise UserError(f"two images have id {id}; image ids must differ")
        place_of[id] = place
        name = item.get("file_name")
        if name_of is not None:
            name = name_of(any_file_name(name, id))
        name = file_name_of(name, id)
        other = ids.setdefault(posixpath.normpath(name), id)
        if other != id:
            raise UserError(f"images {other} and {id} are the same file {name}; remove one")
        records.append(_record(id, name, item))
    sizes = [(each.height, each.width) for each in records]
    return Images(PackedImages(records), sizes, place_of)


def _record(id: int, name: str, item: dict[str, Any]) -> ImageRecord:
    height, width = (whole(item.get(key)) for key in ("height", "width"))
    if type(height) is not int or type(width) is not int or height <= 0 or width <= 0:
        raise UserError(
            f"image {id} ({name}) has width {shown(width)} and height {shown(height)}; both "
            "must be integers >= 1"
        )
    if height * width > MAX_PIXELS:
        raise UserError(
            f"image {id} ({name}) of {shown(width)}x{shown(height)} has more than {MAX_PIXELS} "
            "pixels; cut it into tiles"
        )
    return ImageRecord(id=id, file_name=name, height=height, width=width)


def _unique(ids: NDArray[np.int64]) -> NDArray[np.int64]:
    order = np.argsort(ids, kind="stable")
    repeats = order[1:][ids[order[1:]] == ids[order[:-1]]]
    if len(repeats):
        raise UserError(f"two annotations have id {ids[repeats.min()]}; annotation ids must differ")
    return ids


def _labels(
    category_ids: NDArray[np.int64], ids: Sequence[int], classes: list[Category]
) -> NDArray[np.int32]:
    """Class index of each annotation."""
    known = np.array([category.id for category in classes], np.int64)
    places = np.searchsorted(known, category_ids)
    unknown = np.append(known, -1)[places] != category_ids
    if unknown.any():
        first = int(unknown.argmax())
        raise UserError(
            f"annotation {ids[first]} has category_id {category_ids[first]}, which is not in "
            "categories; fix its category_id or add the category"
        )
    return (places + 1).astype(np.int32)
