"""BESTIE's text files: one an image, a line `x y class confidence` a click.

Coordinates are numbers of pixels, as ours; the classes are numbers, whose names nobody wrote down.
"""

from __future__ import annotations

import math
from pathlib import Path

from p2seg.errors import UserError, shown
from p2seg.formats.points.base import Found, Mark, Picture, Reading, files_at, text_of

Line = tuple[float, float, int, str]
"""x, y, the class's number, where."""


def read(path: Path, reading: Reading) -> Found:
    """Reads BESTIE's files.

    The first class's number is 0 or 1. With names given, the numbers show which: one of 0 says 0,
    one as large as the count of classes says 1; where there is neither, it must be said.

    Args:
        path: a text file, or a folder of them; each is named as its image.
        reading: names of the classes in the order of the numbers, and the number of the first;
            without names the classes are called by their numbers.

    Raises:
        UserError: there is none, or the numbers do not fit the names.
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
    """Whether a file may begin with this line: a click, or nothing."""
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
    words = text.split()
    try:
        if len(words) not in (3, 4):  # some leave the confidence out
            raise ValueError
        values = [float(word) for word in words]
    except ValueError as error:
        raise UserError(f"{whole} is {shown(text)}; it must be x y class confidence") from error
    if not all(map(math.isfinite, values)) or values[2] != int(values[2]) or values[2] < 0:
        raise UserError(f"{whole} is {shown(text)}; the class must be a whole number from 0 up")
    return values[0], values[1], int(values[2]), where


def _first(numbers: set[int], names: list[str] | None, told: int | None) -> int:
    """The number of the first class."""
    if names is None or not numbers:
        return 0
    low, high, count = min(numbers), max(numbers), len(names)
    first = told
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
