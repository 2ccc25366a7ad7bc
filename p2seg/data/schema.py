"""Checks of the fields that instance files and points files share, and their messages."""

from __future__ import annotations

import json
import math
import posixpath
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from p2seg.data.coco_variants import NUMBERS, Notes, skipped_categories, whole
from p2seg.data.records import Category, ImageRecord
from p2seg.errors import UserError
from p2seg.errors import shown as shown

__all__ = ["Category", "ImageRecord"]

MAX_ID = 2**63 - 1
"""The largest id, because ids are stored as int64."""
DEEPEST = 100
"""Most nested levels of a value that is copied from one file to another."""
LONGEST_NAME = 1000
"""Most characters of a file name or a category name, because messages repeat them."""
OTHER_ROOT = re.compile(r"[A-Za-z]:[\\/]|\\")
"""The start of an absolute path on Windows."""


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Prepends the name of a file to each `UserError` that does not contain it."""
    try:
        yield
    except UserError as error:
        if str(path) in str(error):
            raise
        raise UserError(f"{path}: {error}") from error


def yx_inside(value: Any, height: int, width: int) -> tuple[float, float] | None:
    """A point `[x, y]` of an image as (y, x); None if it is invalid or outside the image."""
    if type(value) is not list or len(value) != 2 or not all(map(is_number, value)):
        return None
    x, y = value
    return (float(y), float(x)) if 0 <= x < width and 0 <= y < height else None


def xy_inside(value: Any, id: int, image: ImageRecord) -> tuple[float, float]:
    """The point `[x, y]` of an annotation as (y, x), checked to lie on its image.

    Raises:
        UserError: `value` is not a pair of finite numbers, or lies outside the image.
    """
    yx = yx_inside(value, image.height, image.width)
    if yx is not None:
        return yx
    if not isinstance(value, list) or len(value) != 2 or not all(map(is_number, value)):
        raise UserError(
            f"the point of annotation {id} is {shown(value)}; it must be two numbers [x, y]"
        )
    x, y = value
    raise UserError(
        f"point ({x:.10g}, {y:.10g}) of annotation {id} lies outside image {image.file_name} "
        f"of {image.width}x{image.height}; x must be in [0, {image.width}) and y in "
        f"[0, {image.height}): fix the point or remove the annotation"
    )


def is_whole(value: Any) -> bool:
    """Whether a JSON value is an integer; true and false are not."""
    return type(value) is int


def is_number(value: Any) -> bool:
    """Whether a JSON value is a finite number in the range of a float; true and false are not."""
    if type(value) is int:
        return abs(value) <= MAX_ID
    return type(value) is float and math.isfinite(value)


def storable(value: Any) -> bool:
    """Whether a value can be written as JSON: it has no NaN, infinity or lone surrogate."""
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError):
        return False
    return depth_of(value) <= DEEPEST


def depth_of(value: Any) -> int:
    """The number of nested levels of lists and objects, at most `DEEPEST + 1`."""
    depth, level = 0, [value]
    while depth <= DEEPEST:
        below = (
            child
            for each in level
            if isinstance(each, (list, dict))
            for child in (each.values() if isinstance(each, dict) else each)
        )
        level = list({id(child): child for child in below}.values())  # each object once
        if not level:
            break
        depth += 1
    return depth


def kind_of(value: Any) -> str:
    """The type of a JSON value, in words."""
    kinds = {dict: "an object", list: "a list", str: "a string", bool: "true or false"}
    return "null" if value is None else kinds.get(type(value), "a number")


def list_of(content: dict[str, Any], key: str) -> list[dict[str, Any]]:
    """The list of objects under a key.

    Raises:
        UserError: the key is missing, or its value is not a list of objects.
    """
    if key not in content:
        raise UserError(
            f"it has no '{key}'; a COCO-style file has images, annotations and categories"
        )
    items = content[key]
    if not isinstance(items, list):
        raise UserError(f"its '{key}' is {kind_of(items)}; it must be a list")
    for place, item in enumerate(items):
        check_object(item, key, place)
    return items


def id_of(item: dict[str, Any], key: str, where: str, notes: Notes | None = None) -> int:
    """The checked id under a key of an object.

    Args:
        item: the object.
        key: the key of the id.
        where: the name of the object in the message.
        notes: counts ids that are not written as integers.

    Raises:
        UserError: there is no id, or it is not an integer from 0 to `MAX_ID`.
    """
    value = item.get(key)
    id = whole(value)
    if type(id) is int and 0 <= id <= MAX_ID:
        if notes is not None and id is not value:
            notes[NUMBERS] += 1
        return id
    if value is None:
        raise UserError(f"{where} has no {key}; it must be an integer >= 0")
    raise UserError(f"{where} has {key} {shown(value)}; it must be an integer >= 0")


def any_file_name(value: Any, id: int) -> str:
    """The file name of an image in the file of another tool, which can be any path.

    Raises:
        UserError: the value is not text, empty or too long.
    """
    if not isinstance(value, str) or not value:
        raise UserError(f"image {id} has file_name {shown(value)}; it must be a path")
    if len(value) > LONGEST_NAME:
        raise UserError(
            f"image {id} has a file_name of {len(value)} characters; shorten it to "
            f"{LONGEST_NAME} or fewer"
        )
    return value


def file_name_of(value: Any, id: int) -> str:
    """The file name of an image, checked to be a path below the image folder.

    Raises:
        UserError: it is not such a path.
    """
    name = any_file_name(value, id)
    normal = posixpath.normpath(name)
    rooted = name.startswith("/") or OTHER_ROOT.match(name)
    if rooted or ".." in re.split(r"[\\/]", name):  # after a symbolic link, .. can lead anywhere
        raise UserError(
            f"image {id} has file_name {shown(name)}, which leaves the image folder; "
            "it must be a path below that folder, without .. (p2seg import_points and "
            "p2seg make_points find the image with images=DIR)"
        )
    lone_surrogate = any("\ud800" <= letter <= "\udfff" for letter in name)
    if normal == "." or "\0" in name or lone_surrogate:
        raise UserError(
            f"image {id} has file_name {shown(name)}, which is not a valid file name; rename it"
        )
    return name


def categories_of(items: list[dict[str, Any]], notes: Notes | None = None) -> list[Category]:
    """The checked categories of a file, sorted by id.

    Raises:
        UserError: an id or a name is invalid, or two categories have the same id.
    """
    categories: dict[int, Category] = {}
    for place, item in enumerate(items):
        id = id_of(item, "id", f"categories[{place}]", notes)
        if id in categories:
            raise UserError(f"two categories have id {id}; category ids must differ")
        name = item.get("name")
        if not isinstance(name, str) or not name:
            raise UserError(f"category {id} has name {shown(name)}; it must be a string")
        if len(name) > LONGEST_NAME:
            raise UserError(
                f"category {id} has a name of {len(name)} characters; shorten it to "
                f"{LONGEST_NAME} or fewer"
            )
        if not storable(name):
            raise UserError(
                f"category {id} has name {shown(name)}, which is not valid Unicode; rename it"
            )
        categories[id] = Category(id=id, name=name)
    return [categories[id] for id in sorted(categories)]


def classes_of(items: list[dict[str, Any]], used: Collection[int], notes: Notes) -> list[Category]:
    """The categories that are classes, sorted by id.

    Args:
        items: the categories of a file.
        used: ids of the categories of annotations.
        notes: counts the skipped categories: roots and backgrounds without annotations.

    Raises:
        UserError: a category is invalid, or two classes have the same name.
    """
    categories = categories_of(items, notes)
    skipped = skipped_categories(items, used, notes)
    classes = [each for each in categories if each.id not in skipped]
    ids: dict[str, int] = {}
    for each in classes:
        other = ids.setdefault(each.name, each.id)
        if other != each.id:
            raise UserError(
                f"two categories have the same name {shown(each.name)}, ids {other} and {each.id}; "
                "rename one"
            )
    return classes


def check_object(item: Any, key: str, place: int) -> None:
    """Raises a `UserError` if an item of a list is not an object."""
    if not isinstance(item, dict):
        raise UserError(f"{key}[{place}] is {kind_of(item)}; it must be an object")
