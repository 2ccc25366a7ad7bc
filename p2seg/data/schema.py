"""What instance files and points files share: COCO's images, categories and annotations.

Everything is checked here, so that the rest of the package may trust what it is given.
"""

from __future__ import annotations

import json
import math
import posixpath
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from p2seg.data.rle import MAX_PIXELS
from p2seg.errors import UserError
from p2seg.errors import shown as shown  # those who read documents want it, too
from p2seg.files import read_json

MAX_ID = 2**63 - 1
"""Ids travel in int64 tensors."""
DEEPEST = 100
"""Levels of what is copied from one file to another; the parser's own limit is its caller's."""
LONGEST_NAME = 1000
"""Letters of a file's or a category's name, which errors repeat."""
OTHER_ROOT = re.compile(r"[A-Za-z]:[\\/]|\\")
"""How a path begins that Windows takes for one of another folder."""


@dataclass(frozen=True)
class ImageRecord:
    """One image of a json file.

    Attributes:
        id: the file's id of the image.
        file_name: path below the image folder.
        height: pixels.
        width: pixels.
    """

    id: int
    file_name: str
    height: int
    width: int


@dataclass(frozen=True)
class Category:
    """One category of a json file; the k-th by id is class k (1..C)."""

    id: int
    name: str


@dataclass(frozen=True)
class Annotation:
    """One annotation whose references are checked, the rest of it not yet.

    Attributes:
        id: annotation id.
        label: class index 1..C.
        content: the whole JSON object.
    """

    id: int
    label: int
    content: dict[str, Any]


@dataclass(frozen=True)
class Document:
    """A COCO-style file with its references checked.

    Attributes:
        images: in the file's order.
        categories: sorted by id.
        annotations: for each image, in the order of `images`, its annotations in the file's order.
        info: the file's `info` object.
    """

    images: list[ImageRecord]
    categories: list[Category]
    annotations: list[list[Annotation]]
    info: dict[str, Any]


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Puts the name of the file before the sentence of every `UserError` of the block."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def read_document(path: Path, what: str) -> Document:
    """Reads a COCO-style JSON file and checks ids, names, sizes and references.

    Args:
        path: the file.
        what: what the file should be, for the error ("points file").

    Returns:
        The document.

    Raises:
        UserError: the file is missing, no JSON or not of this form; the sentence says where.
    """
    content = read_json(path, what)
    with naming(path):
        if not isinstance(content, dict):
            raise UserError(
                f"it is {_kind(content)}, not a JSON object with images, annotations, categories"
            )
        images, annotations, categories = (
            _list(content, key) for key in ("images", "annotations", "categories")
        )
        info = content.get("info")
        if info is not None and not isinstance(info, dict):
            raise UserError(f"its info is {_kind(info)}; make it an object or leave it out")
        if not storable(info):
            raise UserError(
                "its info holds what no JSON can (NaN, infinity or half a letter), or more than "
                f"{DEEPEST} levels; leave that out"
            )
        records = _images(images)
        classes = _categories(categories)
        return Document(
            images=records,
            categories=classes,
            annotations=_annotations(annotations, records, classes),
            info=info or {},
        )


def xy_inside(value: Any, id: int, image: ImageRecord) -> tuple[float, float]:
    """The point `[x, y]` of an annotation as (y, x), checked to lie on its image.

    Raises:
        UserError: `value` is no pair of finite numbers, or lies outside the image.
    """
    if not isinstance(value, list) or len(value) != 2 or not all(map(is_number, value)):
        raise UserError(
            f"the point of annotation {id} is {shown(value)}; it must be two numbers [x, y]"
        )
    x, y = value
    if not (0 <= x < image.width and 0 <= y < image.height):
        raise UserError(
            f"point ({x:.10g}, {y:.10g}) of annotation {id} lies outside image {image.file_name} "
            f"of {image.width}x{image.height}; x must be in [0, {image.width}) and y in "
            f"[0, {image.height}): fix the point or remove the annotation"
        )
    return float(y), float(x)


def is_whole(value: Any) -> bool:
    """Whether a JSON value is a whole number (true and false are none)."""
    return type(value) is int


def is_number(value: Any) -> bool:
    """Whether a JSON value is a finite number that a float can hold (true and false are none)."""
    if type(value) is int:
        return abs(value) <= MAX_ID
    return type(value) is float and math.isfinite(value)


def storable(value: Any) -> bool:
    """Whether what came from a file can be written to another: no NaN, no half a letter."""
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError):
        return False
    return depth_of(value) <= DEEPEST


def depth_of(value: Any) -> int:
    """How many lists and objects lie in each other, counted up to one beyond `DEEPEST`."""
    depth, level = 0, [value]
    while depth <= DEEPEST:
        below = (
            child
            for each in level
            if isinstance(each, (list, dict))
            for child in (each.values() if isinstance(each, dict) else each)
        )
        level = list({id(child): child for child in below}.values())  # one may be there often
        if not level:
            break
        depth += 1
    return depth


def _kind(value: Any) -> str:
    kinds = {dict: "an object", list: "a list", str: "a string", bool: "true or false"}
    return "null" if value is None else kinds.get(type(value), "a number")


def _list(content: dict[str, Any], key: str) -> list[dict[str, Any]]:
    """The list of objects under `key`."""
    if key not in content:
        raise UserError(
            f"it has no '{key}'; a COCO-style file has images, annotations and categories"
        )
    items = content[key]
    if not isinstance(items, list):
        raise UserError(f"its '{key}' is {_kind(items)}; it must be a list")
    for place, item in enumerate(items):
        if not isinstance(item, dict):
            raise UserError(f"{key}[{place}] is {_kind(item)}; it must be an object")
    return items


def _id(item: dict[str, Any], key: str, where: str) -> int:
    value = item.get(key)
    if type(value) is int and 0 <= value <= MAX_ID:
        return value
    if value is None:
        raise UserError(f"{where} has no {key}; give it one, a whole number")
    raise UserError(f"{where} has {key} {shown(value)}; an id is a whole number from 0 up")


def _images(items: list[dict[str, Any]]) -> list[ImageRecord]:
    records: list[ImageRecord] = []
    ids: set[int] = set()
    names: dict[str, int] = {}
    for place, item in enumerate(items):
        id = _id(item, "id", f"images[{place}]")
        if id in ids:
            raise UserError(f"two images have id {id}; image ids must differ")
        ids.add(id)
        name = _file_name(item.get("file_name"), id)
        other = names.setdefault(posixpath.normpath(name), id)
        if other != id:
            raise UserError(f"images {other} and {id} are the same file {name}; remove one")
        height, width = item.get("height"), item.get("width")
        if type(height) is not int or type(width) is not int or height <= 0 or width <= 0:
            raise UserError(
                f"image {id} ({name}) has width {shown(width)} and height {shown(height)}; both "
                "must be whole numbers above 0"
            )
        if height * width > MAX_PIXELS:
            raise UserError(
                f"image {id} ({name}) of {shown(width)}x{shown(height)} has too many pixels, more "
                f"than {MAX_PIXELS}; cut it into tiles"
            )
        records.append(ImageRecord(id=id, file_name=name, height=height, width=width))
    return records


def _file_name(value: Any, id: int) -> str:
    if not isinstance(value, str) or not value:
        raise UserError(f"image {id} has file_name {shown(value)}; it must be a path")
    if len(value) > LONGEST_NAME:
        raise UserError(f"image {id} has a file_name of {len(value)} letters; shorten it")
    whole = posixpath.normpath(value)
    rooted = value.startswith("/") or OTHER_ROOT.match(value)
    if rooted or ".." in re.split(r"[\\/]", value):  # behind a link it leads anywhere
        raise UserError(
            f"image {id} has file_name {shown(value)}, which leaves the image folder; "
            "it must be a path below that folder, without .."
        )
    lone_surrogate = any("\ud800" <= letter <= "\udfff" for letter in value)
    if whole == "." or "\0" in value or lone_surrogate:
        raise UserError(f"image {id} has file_name {shown(value)}, which is no file's name")
    return value


def _categories(items: list[dict[str, Any]]) -> list[Category]:
    categories: dict[int, Category] = {}
    for place, item in enumerate(items):
        id = _id(item, "id", f"categories[{place}]")
        if id in categories:
            raise UserError(f"two categories have id {id}; category ids must differ")
        name = item.get("name")
        if not isinstance(name, str) or not name:
            raise UserError(f"category {id} has name {shown(name)}; it must be a string")
        if len(name) > LONGEST_NAME:
            raise UserError(f"category {id} has a name of {len(name)} letters; shorten it")
        if not storable(name):
            raise UserError(f"category {id} has name {shown(name)}, which is no text; rename it")
        categories[id] = Category(id=id, name=name)
    return [categories[id] for id in sorted(categories)]


def _annotations(
    items: list[dict[str, Any]], images: list[ImageRecord], categories: list[Category]
) -> list[list[Annotation]]:
    """The annotations of each image."""
    place_of = {image.id: place for place, image in enumerate(images)}
    label_of = {category.id: label for label, category in enumerate(categories, start=1)}
    annotations: list[list[Annotation]] = [[] for _ in images]
    seen: set[int] = set()
    for index, item in enumerate(items):
        id = _id(item, "id", f"annotations[{index}]")
        if id in seen:
            raise UserError(f"two annotations have id {id}; annotation ids must differ")
        seen.add(id)
        image_id = _id(item, "image_id", f"annotation {id}")
        if image_id not in place_of:
            raise UserError(
                f"annotation {id} is of image {image_id}, which is not listed; "
                "fix its image_id or add the image"
            )
        category_id = _id(item, "category_id", f"annotation {id}")
        if category_id not in label_of:
            raise UserError(
                f"annotation {id} is of category {category_id}, which is not listed; "
                "fix its category_id or add the category"
            )
        annotations[place_of[image_id]].append(Annotation(id, label_of[category_id], item))
    return annotations
