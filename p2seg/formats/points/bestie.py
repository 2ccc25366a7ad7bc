"""BESTIE: one text file per image, one line `x y class confidence` per click.

Coordinates are pixel indices, as in p2seg. Classes are numbers without names.
"""

from __future__ import annotations

import math
from pathlib import Path

from p2seg.errors import UserError, shown
from p2seg.formats.points.base import Found, Mark, Picture, Reading, files_at, text_of

Line = tuple[float, float, int, str]
"""x, y, the class's number, where."""


def read(path: Path, reading: Reading) -> Found:
    """Reads BESTIE files.

    The first class has number 0 or 1. It is inferred from a number 0 or from a number equal to
    the count of names. Without either, `reading.first_class` is required.

    Args:
        path: a text file with the name of its image, or a folder of such files.
        reading: class names in the order of the numbers, and the first number. Without names, the
            numbers are the names.

    Raises:
        UserError: no text file exists, or the numbers do not match the names.
    """
    found = Found()
    files = files_at(path, (".txt",), "text files")
    root = path if path.is_dir() else path.parent
    lines: dict[Path, list[Line]] = {}
    for file in files:
        with found.entry():
            lines[file] = _lines(file, found)
    numbers = {line[2] for each in lines.values() for line in each}
    names = list(reading.classes) if reading.classes is not None else None
    first = _first(numbers, names, reading.first_class)
    if names is not None:
        found.classes = names
    else:
        found.classes = [str(number) for number in sorted(numbers)]
    for file, each in lines.items():
        marks = []
        for x, y, number, where in each:
            label = str(number) if names is None else names[number - first]
            marks.append(Mark(label, (y, x), where))
        name = file.relative_to(root).with_suffix("").as_posix()
        found.pictures.append(Picture((name,), marks, str(file)))
    return found


def is_line(text: str) -> bool:
    """Whether a BESTIE file can begin with this line, which is blank or a click."""
    try:
        return not text.strip() or bool(_line(text, "", ""))
    except UserError:
        return False


def _lines(file: Path, found: Found) -> list[Line]:
    lines = []
    for number, text in enumerate(text_of(file, "text file of clicks").splitlines(), start=1):
        if not text.strip():
            continue
        with found.entry():
            lines.append(_line(text, f"{file}: line {number}", f"line {number}"))
    return lines


def _line(text: str, whole: str, where: str) -> Line:
    fields = text.split()
    try:
        if len(fields) not in (3, 4):  # the confidence is optional
            raise ValueError
        values = [float(field) for field in fields]
    except ValueError as error:
        raise UserError(f"{whole} is {shown(text)}; it must be x y class confidence") from error
    if not all(map(math.isfinite, values)) or values[2] != int(values[2]) or values[2] < 0:
        raise UserError(f"{whole} is {shown(text)}; the class must be a whole number from 0 up")
    return values[0], values[1], int(values[2]), where


def _first(numbers: set[int], names: list[str] | None, first: int | None) -> int:
    """The number of the first class: `first`, or inferred from the numbers if that is None."""
    if names is None or not numbers:
        return 0
    low, high, count = min(numbers), max(numbers), len(names)
    if first is None:
        if low > 0 and high < count:
            raise UserError(
                f"the classes are {low} to {high} of {count} names, which may count from 0 or "
                "from 1; say it with first_class=0 or first_class=1"
            )
        first = 0 if low == 0 else 1
    if low < first or high - first >= count:
        raise UserError(
            f"the classes are {low} to {high}, but classes= names {count} counted from {first}; "
            "name every class in the order of the numbers"
        )
    return first
