"""Types and checks that all readers share: the content of a file before matching with images."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from p2seg.data.schema import LONGEST_NAME, MAX_ID, is_number, kind_of, storable
from p2seg.errors import UserError, shown
from p2seg.formats.points.regions import Region
from p2seg.runtime.files import read_json, read_text

MAX_BYTES = 1 << 30
"""Larger files are rejected unread. A million clicks take a tenth of that."""
ID_KEY = "p2seg_id"
"""Field for p2seg annotation ids in the files of tools without ids."""


Place = tuple[float, float] | Region
"""A click (y, x), or a region from which a click is derived."""


@dataclass(frozen=True)
class Mark:
    """One object in the coordinates of a tool.

    Attributes:
        label: class name; empty if the file has none.
        at: click or region in the tool's pixels. If the file has relative coordinates, a function
            that computes it from the image's (height, width).
        where: the file's entry, for messages: "shape 3".
        id: p2seg annotation id, if the file has one.
        group: regions of one label and group are parts of one object.
    """

    label: str
    at: Place | Callable[[tuple[int, int]], Place]
    where: str
    id: int | None = None
    group: int | None = None


@dataclass(frozen=True)
class Picture:
    """One image of a tool's file.

    Attributes:
        names: candidate names, most reliable first. Messages show the last one.
        marks: in the file's order.
        where: the file, and the entry if it has several, for messages.
        size: (height, width) in pixels, if the file has it.
        id: p2seg image id, if the file has one.
        size_by: source of the size, appended to `where` in a message about a different size.
    """

    names: tuple[str, ...]
    marks: list[Mark]
    where: str
    size: tuple[int, int] | None = None
    id: int | None = None
    size_by: str = ""


@dataclass
class Found:
    """The content of a file or folder.

    Attributes:
        pictures: in the file's order, or sorted by path.
        classes: names in the file's order; None if it has no list of classes.
        class_ids: ids of `classes` to preserve (COCO).
        left_out: number of entries per kind that are neither clicks nor regions.
        problems: messages about entries that are invalid.
        notes: number of entries per kind that were repaired while reading.
    """

    pictures: list[Picture] = field(default_factory=list)
    classes: list[str] | None = None
    class_ids: list[int] | None = None
    left_out: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    notes: Counter[str] = field(default_factory=Counter)

    @contextmanager
    def entry(self) -> Iterator[None]:
        """Records a `UserError` about an entry, so that the reader continues with the next."""
        try:
            yield
        except UserError as error:
            self.problems.append(str(error))


@dataclass(frozen=True)
class Reading:
    """Options of the readers for what a file does not specify.

    Attributes:
        classes: class names in order; None: those of the file.
        keypoint: COCO: the keypoint that is the click; None: the most central labeled one.
        attribute: VIA: the region attribute that is the class; None: the only or usual one.
        first_class: BESTIE: the number of the first class, 0 or 1; None: inferred.
    """

    classes: Sequence[str] | None = None
    keypoint: str | None = None
    attribute: str | None = None
    first_class: int | None = None


def files_at(path: Path, endings: tuple[str, ...], what: str) -> list[Path]:
    """The file itself, or all visible files below a folder with one of the suffixes, sorted.

    Raises:
        UserError: the path does not exist, or no file below it has such a suffix.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise UserError(f"no file or folder of {what} at {path}: check in=PATH")
    files = [
        Path(parent, name)
        for parent, _, names in os.walk(path)
        for name in names
        if name.lower().endswith(endings) and not name.startswith(".")
    ]
    if not files:
        raise UserError(f"no {what} below {path}: its files end in {', '.join(endings)}")
    return sorted(files)


def check_bytes(path: Path) -> None:
    """Raises a `UserError` if the file is too large to be a file of clicks."""
    if path.is_file() and path.stat().st_size > MAX_BYTES:
        raise UserError(
            f"{path} has {path.stat().st_size} bytes, more than {MAX_BYTES}: split it, and give "
            "the folder of the parts with in=DIR"
        )


def json_of(path: Path, what: str) -> Any:
    """The content of a JSON file that is not too large."""
    check_bytes(path)
    return read_json(path, what)


def text_of(path: Path, what: str) -> str:
    """The content of a text file that is not too large, without a byte order mark."""
    check_bytes(path)
    text = read_text(path, what)
    if "\0" in text:
        raise UserError(f"{path} contains null bytes, so it is not text; give a {what}")
    return text


def object_of(value: Any, where: str) -> dict[str, Any]:
    """A JSON value that must be an object."""
    if not isinstance(value, dict):
        raise UserError(f"{where} is {kind_of(value)}; it must be an object")
    return value


def list_at(content: dict[str, Any], key: str, where: str) -> list[Any]:
    """The list under a key of an object; empty if the key is missing."""
    value = content.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise UserError(f"{where}: '{key}' is {kind_of(value)}; it must be a list")
    return value


def number_at(content: dict[str, Any], key: str, where: str) -> float:
    """The finite number under a key."""
    value = content.get(key)
    if not is_number(value):
        raise UserError(f"{where} has {key} {shown(value)}; it must be a number")
    return float(value)  # type: ignore[arg-type]


def pair_of(value: Any, where: str) -> tuple[float, float]:
    """Two finite numbers [x, y]."""
    if not isinstance(value, list) or len(value) != 2 or not all(map(is_number, value)):
        raise UserError(f"{where} has the point {shown(value)}; it must be two numbers [x, y]")
    return float(value[0]), float(value[1])


def label_of(value: Any, where: str) -> str:
    """The class name, or an empty string if there is none."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return ""
    if type(value) is int:
        value = str(value)
    if not isinstance(value, str):
        raise UserError(f"{where} has the label {shown(value)}; give it the name of a class")
    if len(value) > LONGEST_NAME or not storable(value):
        raise UserError(f"{where} has an invalid label ({shown(value)}); rename it")
    return value


def id_from(value: Any) -> int | None:
    """An id from 7, 7.0, "7" or "7.0"; None for any other value."""
    if isinstance(value, str) and len(value) < 22 and re.fullmatch(r"[0-9]+(\.0*)?", value):
        value = int(value.partition(".")[0])
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if type(value) is int and 0 <= value <= MAX_ID else None


def size_from(height: Any, width: Any, where: str) -> tuple[int, int] | None:
    """The size of an image, or None if neither side is given.

    Raises:
        UserError: a side is not an integer above 0.
    """
    if height is None and width is None:
        return None
    sides = []
    for value in (height, width):
        try:
            side = int(float(value))  # tables also have "60.0"
            whole = side == float(value)
        except (TypeError, ValueError, OverflowError):
            side, whole = 0, False
        if not whole or side <= 0 or isinstance(value, bool):
            raise UserError(
                f"{where} is of size {shown(width)} x {shown(height)}; both must be whole numbers "
                "above 0"
            )
        sides.append(side)
    return sides[0], sides[1]
