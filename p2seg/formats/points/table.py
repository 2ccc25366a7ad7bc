"""CSV: one line per click, with the columns file, x, y, label or their usual synonyms.

Coordinates are pixel indices, with the center of the first pixel at (0, 0), as in p2seg. With
`pixels=edge` they run along pixel edges.
"""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

from p2seg.errors import UserError, shown
from p2seg.formats.points.base import (
    Found,
    Mark,
    Picture,
    Reading,
    files_at,
    id_from,
    label_of,
    size_from,
    text_of,
)
from p2seg.formats.points.unknown import table_seems
from p2seg.formats.points.writer import Writing
from p2seg.runtime.files import write_text

NAMES = {
    "file": ("file", "filename", "filepath", "image", "imagename", "imagepath", "path"),
    "x": ("x", "xpx", "xpixel", "col", "column", "cx", "xcenter", "centerx", "xm"),
    "y": ("y", "ypx", "ypixel", "row", "cy", "ycenter", "centery", "ym"),
    "label": ("label", "class", "classname", "category", "name", "type", "labelname"),
    "id": ("id", "annotationid", "pointid"),
    "width": ("width", "imagewidth"),
    "height": ("height", "imageheight"),
}
"""Synonyms of each column in lower case, without punctuation."""
SIZE_BY = ", whose width and height must be those of the image and not of a box"
LONGEST_FIELD = 1 << 20


def read(path: Path, _: Reading) -> Found:
    """Reads CSV files: commas, semicolons or tabs between the fields.

    Args:
        path: the file, or a folder of such files.
        _: unused.

    Raises:
        UserError: no CSV exists, or its header lacks a required column.
    """
    found = Found()
    pictures: dict[str, Picture] = {}
    for file in files_at(path, (".csv", ".tsv"), "CSV files"):
        try:
            _read(file, pictures, found)
        except csv.Error as error:
            raise UserError(f"{file} is not readable as CSV ({error}); save it again") from error
    found.pictures = list(pictures.values())
    return found


def header_of(file: Path) -> tuple[int, list[str], str]:
    """The header of a table.

    Returns:
        The number of lines above the header (blank lines, comments, Excel's `sep=;`), the column
        names, and the separator.
    """
    csv.field_size_limit(LONGEST_FIELD)
    separator = None
    lines = text_of(file, "table").splitlines()
    for above, line in enumerate(lines):
        declared = re.fullmatch(r"sep=(.)", line.strip("\r\n"))
        if declared:
            separator = declared[1]
            continue
        delimiter = separator or max(",;\t", key=line.count)
        header = next(csv.reader([line], delimiter=delimiter), [])
        comment = line.startswith("#") and not {"file", "x", "y"} & set(columns_of(header))
        if line.strip() and not comment:
            return above, header, delimiter
    return len(lines), [], ","


def columns_of(header: list[str]) -> dict[str, int]:
    """The index of the first column for each key of `NAMES` that the header has."""
    plain = ["".join(filter(str.isalnum, name)).lower() for name in header]
    return {
        ours: min(plain.index(name) for name in names if name in plain)
        for ours, names in NAMES.items()
        if any(name in plain for name in names)
    }


def _read(file: Path, pictures: dict[str, Picture], found: Found) -> None:
    above, header, separator = header_of(file)
    text = text_of(file, "table")
    rows = csv.reader(io.StringIO(text), delimiter=separator)
    for _ in range(above + 1):
        next(rows, None)
    columns = columns_of(header)
    missing = [name for name in ("file", "x", "y") if name not in columns]
    if missing:
        raise UserError(f"{file} has no column for {missing[0]}; it {table_seems(header)}")
    numbers = {columns[axis] for axis in "xy"}
    for row in rows:
        if not any(field.strip() for field in row):
            continue
        with found.entry():
            if separator != ",":  # there, a comma can be a thousands separator
                row = [_decimal(field) if k in numbers else field for k, field in enumerate(row)]
            _add(row, columns, len(header), f"{file}: line {rows.line_num}", pictures)


def _add(
    row: list[str], columns: dict[str, int], count: int, whole: str, pictures: dict[str, Picture]
) -> None:
    if len(row) < count:
        raise UserError(f"{whole} has {len(row)} fields, but the header {count}; fill in the rest")
    fields = {name: row[place].strip() for name, place in columns.items()}
    name = fields["file"]
    if not name:
        raise UserError(f"{whole} names no file; fill it in")
    size = size_from(fields.get("height") or None, fields.get("width") or None, whole)
    picture = pictures.get(name)
    if picture is None:
        file = whole.rpartition(": ")[0]
        picture = pictures[name] = Picture((name,), [], file, size, size_by=SIZE_BY)
    elif size is not None and picture.size not in (None, size):
        raise UserError(
            f"{whole}: width and height are {size[1]}x{size[0]}, but {picture.size[1]}x"
            f"{picture.size[0]} in a line above; they must be those of image {shown(name)} and not "
            "of a box; rename the columns, and set x and y to the centers of the boxes"
        )
    if not (fields["x"] or fields["y"] or fields.get("label")):
        return  # an image without points
    at = [_number(fields[axis], axis, whole) for axis in "yx"]
    label = label_of(fields.get("label"), whole)
    where = whole.rpartition(": ")[2]
    picture.marks.append(Mark(label, (at[0], at[1]), where, id_from(fields.get("id"))))


def _decimal(text: str) -> str:
    """A number's text with its decimal comma replaced by a point."""
    return text.replace(",", ".") if text.count(",") == 1 else text


def _number(text: str, axis: str, whole: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not abs(value) < 1e9:  # also True for NaN
        raise UserError(f"{whole} has {axis} {shown(text)}; it must be a number, such as 24.5")
    return value


def write(writing: Writing) -> str:
    """Writes one line per click. An image without clicks has one line with its name and size."""
    stream = io.StringIO()
    rows = csv.writer(stream, lineterminator="\n")
    rows.writerow(["file", "x", "y", "label", "id", "width", "height"])
    for record, clicks in writing.images():
        size = [record.width, record.height]
        rows.writerows([record.file_name, c.x, c.y, c.label, c.id, *size] for c in clicks)
        if not clicks:
            rows.writerow([record.file_name, "", "", "", "", *size])
    write_text(writing.out, stream.getvalue())
    return f"{writing.out} is a table of {sum(map(len, writing.points.points))} clicks"
