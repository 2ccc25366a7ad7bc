"""What all readers of clicks share: what a file says before it is compared with any image."""

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
"""A larger file is refused unread: a million clicks are a tenth of that."""
ID_KEY = "p2seg_id"
"""Where exported files carry our annotation ids, if their tool has no ids of its own."""


Place = tuple[float, float] | Region
"""A click (y, x), or what a click is derived from."""


@dataclass(frozen=True)
class Mark:
    """One object as a tool has it.

    Attributes:
        label: its class by name; empty if the file gives it none.
        at: a click (y, x) in the tool's pixels; or what a click is derived from; or, if the file
            has parts of the image and not pixels, what makes one of these of the image's
            (height, width).
        where: of the file's entry, for sentences: "shape 3".
        id: our annotation id, where the file carries one.
        group: regions of one label and group are parts of one object.
    """

    label: str
    at: Place | Callable[[tuple[int, int]], Place]
    where: str
    id: int | None = None
    group: int | None = None


@dataclass(frozen=True)
class Picture:
    """One image as a tool names it.

    Attributes:
        names: what the file calls it, the surest name first; sentences show the last one.
        marks: in the file's order.
        where: the file, and the entry where it has many, for sentences.
        size: (height, width) in pixels, where the file says it.
        id: of the image, where the format keeps ours.
        size_by: what says the size, behind `where` in the sentence of another size.
    """

    names: tuple[str, ...]
    marks: list[Mark]
    where: str
    size: tuple[int, int] | None = None
    id: int | None = None
    size_by: str = ""


@dataclass
class Found:
    """What a file or folder holds.

    Attributes:
        pictures: in the file's order, or sorted by path.
        classes: names in the file's own order, with their ids where it has some; None where it has
            no list of classes.
        class_ids: ids of `classes` that are worth keeping (COCO's).
        left_out: what is no click, nor a thing to derive one from: how many of each kind.
        problems: sentences of entries that cannot be used.
        notes: what was read in another way than the file has it: how many of each kind.
    """

    pictures: list[Picture] = field(default_factory=list)
    classes: list[str] | None = None
    class_ids: list[int] | None = None
    left_out: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    notes: Counter[str] = field(default_factory=Counter)

    @contextmanager
    def entry(self) -> Iterator[None]:
        """Notes what is wrong with an entry, and goes on behind it."""
        try:
            yield
        except UserError as error:
            self.problems.append(str(error))


@dataclass(frozen=True)
class Reading:
    """What a reader must be told where its file does not say it.

    Attributes:
        classes: names of the classes in their order; None: those of the file.
        keypoint: COCO: which keypoint is the click; None: the middle one of those that are there.
        attribute: VIA: which region attribute is the class; None: the only or usual one.
        first_class: BESTIE: the number of the first class, 0 or 1; None: as the numbers show.
    """

    classes: Sequence[str] | None = None
    keypoint: str | None = None
    attribute: str | None = None
    first_class: int | None = None


def files_at(path: Path, endings: tuple[str, ...], what: str) -> list[Path]:
    """A file, or all files below a folder with some endings, sorted; hidden ones stay out.

    Raises:
        UserError: nothing is there, or none of the folder's files has such an ending.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise UserError(f"no file or folder of {what} at {path}: check in=PATH")
    found = [
        Path(parent, name)
        for parent, _, names in os.walk(path)
        for name in names
        if name.lower().endswith(endings) and not name.startswith(".")
    ]
    if not found:
        raise UserError(f"no {what} below {path}: its files end in {', '.join(endings)}")
    return sorted(found)


def check_bytes(path: Path) -> None:
    """Refuses a file that is too large to be a file of clicks."""
    if path.is_file() and path.stat().st_size > MAX_BYTES:
        raise UserError(
            f"{path} has {path.stat().st_size} bytes, more than {MAX_BYTES}: split it, and give "
            "the folder of the parts"
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
        raise UserError(f"{path} holds zero bytes, so it is not a text; give a {what}")
    return text


def object_of(value: Any, where: str) -> dict[str, Any]:
    """A JSON value that must be an object."""
    if not isinstance(value, dict):
        raise UserError(f"{where} is {kind_of(value)}; it must be an object")
    return value


def list_at(content: dict[str, Any], key: str, where: str) -> list[Any]:
    """The list under a key of an object that `where` calls by name; none given is an empty one."""
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
    """The name of a class; empty if there is none."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return ""
    if type(value) is int:
        value = str(value)
    if not isinstance(value, str):
        raise UserError(f"{where} has the label {shown(value)}; give it the name of a class")
    if len(value) > LONGEST_NAME or not storable(value):
        raise UserError(f"{where} has a label that is no name ({shown(value)}); rename it")
    return value


def id_from(value: Any) -> int | None:
    """An id as a number or in digits, 7 also as 7.0 or "7.0"; None if it is none."""
    if isinstance(value, str) and len(value) < 22 and re.fullmatch(r"[0-9]+(\.0*)?", value):
        value = int(value.partition(".")[0])
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if type(value) is int and 0 <= value <= MAX_ID else None


def size_from(height: Any, width: Any, where: str) -> tuple[int, int] | None:
    """The size of an image, if both sides are given.

    Raises:
        UserError: one is no whole number above 0.
    """
    if height is None and width is None:
        return None
    sides = []
    for value in (height, width):
        try:
            side = int(float(value))  # tables have "60.0", too
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
