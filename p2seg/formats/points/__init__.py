"""Import and export of clicks in the formats of other tools: LabelMe, CVAT, Label Studio and more.

A reader returns the content of a file (`base.Found`) in the coordinates of its tool.
`match_images` finds the images by the names in the file. `gather` checks the content against the
images and converts it to a `PointSet`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from p2seg.errors import UserError
from p2seg.formats.points import (
    bestie,
    coco,
    cvat,
    datumaro,
    labelme,
    labelstudio,
    labelstudio_tasks,
    table,
    via,
)
from p2seg.formats.points.base import Found, Reading, files_at, json_of, text_of
from p2seg.formats.points.convert import gather
from p2seg.formats.points.match_images import Images
from p2seg.formats.points.rules import Report, Rules
from p2seg.formats.points.unknown import json_seems, table_seems, text_seems
from p2seg.formats.points.writer import Writing

__all__ = [
    "FORMATS",
    "Format",
    "Found",
    "Images",
    "Reading",
    "Report",
    "Rules",
    "Writing",
    "gather",
    "recognized",
]


@dataclass(frozen=True)
class Format:
    """Reader and writer of one tool's clicks.

    Attributes:
        read: reads a file or folder.
        edges: coordinates run along pixel edges, with the center of the first pixel at (0.5, 0.5).
        write: writes a set and returns the next step for the user; None for a read-only format.
        ending: suffix of the written file; empty for a folder.
        classes: the file lists the classes; otherwise they are sorted by name.
    """

    read: Callable[[Path, Reading], Found]
    edges: bool
    write: Callable[[Writing], str] | None = None
    ending: str = ""
    classes: bool = True


FORMATS = {
    "labelme": Format(labelme.read, True, labelme.write),
    "cvat": Format(cvat.read, True, cvat.write, ".xml"),
    "datumaro": Format(datumaro.read, True),
    "labelstudio": Format(labelstudio.read, True, labelstudio.write, ".json", classes=False),
    "coco": Format(coco.read, False, coco.write, ".json"),
    "via": Format(via.read, False),
    "bestie": Format(bestie.read, False),
    "csv": Format(table.read, False, table.write, ".csv", classes=False),
}
"""The formats by name."""

_JSONS = {
    "labelme": labelme.is_labelme,
    "coco": coco.is_coco,
    "datumaro": datumaro.is_datumaro,
    "labelstudio": labelstudio_tasks.is_labelstudio,
    "via": via.is_via,
}
_MAX_OPENED = 20
"""Files of a folder that are opened to recognize its format."""


def recognized(path: Path) -> str:
    """The format of a file or folder, a key of `FORMATS`, recognized by its content.

    Raises:
        UserError: the format is unknown, or a folder contains several.
    """
    files = files_at(path, (".json", ".xml", ".csv", ".tsv", ".txt"), "files of clicks")
    # Next to other files, a text file is a list of classes or a readme.
    files = [each for each in files if each.suffix.lower() != ".txt"] or files
    kinds = {kind: file for file in files[:_MAX_OPENED] for kind in [_kind(file)]}
    known = {kind: file for kind, file in kinds.items() if kind is not None}
    if len(known) == 1 and len(kinds) == 1:
        return next(iter(known))
    if len(known) > 1:
        listed = ", ".join(f"{kind} ({file.name})" for kind, file in sorted(known.items()))
        raise UserError(f"{path} holds several formats: {listed}; give in=FILE or format=NAME")
    kept = f"; take it out of the folder of {next(iter(known))}" if known else ""
    raise UserError(
        f"the format of {kinds[None]} is unknown: it {_seems(kinds[None])}{kept}; or name the "
        f"format with format=, one of {', '.join(FORMATS)}"
    )


def _kind(file: Path) -> str | None:
    """The format of a file, or None if it is unknown."""
    ending = file.suffix.lower()
    if ending == ".json":
        content = json_of(file, "file of clicks")
        return next((name for name, fits in _JSONS.items() if fits(content)), None)
    if ending == ".xml":
        return "cvat" if "<annotations" in _text_of_xml(file)[:10_000] else None
    if ending == ".txt":
        first = text_of(file, "text file of clicks").lstrip().partition("\n")[0]
        return "bestie" if bestie.is_line(first) else None
    _, header, _ = table.header_of(file)
    if via.is_table(header):
        return "via"
    return "csv" if {"file", "x", "y"} <= set(table.columns_of(header)) else None


def _text_of_xml(file: Path) -> str:
    """The beginning of an XML file as ASCII-compatible text, whatever its encoding."""
    with file.open("rb") as stream:
        return stream.read(40_000).replace(b"\0", b"").decode("latin-1")


def _seems(file: Path) -> str:
    ending = file.suffix.lower()
    if ending == ".json":
        return json_seems(json_of(file, "file of clicks"))
    if ending in (".xml", ".txt"):
        text = _text_of_xml(file) if ending == ".xml" else text_of(file, "text file of clicks")
        return text_seems(file, text.lstrip())
    return table_seems(table.header_of(file)[1])
