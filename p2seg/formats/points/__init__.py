"""Clicks in the formats of other tools, read and written: LabelMe, CVAT, Label Studio and more.

A reader gives what a file says (`base.Found`), in the coordinates of its tool; `gather` compares it
with the images and makes our points of it; `match` finds the images by the tools' names for them.
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
    """How a tool's clicks are read and written.

    Attributes:
        read: gives what a file or folder says.
        edges: its coordinates run along the pixels' edges, the first pixel's center is at (0.5,
            0.5).
        write: writes a set and says in a sentence what to do with it; None: it is only read.
        ending: of the file that is written; empty for a folder.
        classes: the file lists the classes; else they come back sorted by name.
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
"""By name."""

_JSONS = {
    "labelme": labelme.is_labelme,
    "coco": coco.is_coco,
    "datumaro": datumaro.is_datumaro,
    "labelstudio": labelstudio.is_labelstudio,
    "via": via.is_via,
}
_LOOKED_AT = 20
"""Files of a folder that are opened to say what it holds."""


def recognized(path: Path) -> str:
    """The format of a file or folder, by what is in it.

    Args:
        path: it.

    Returns:
        A name of `FORMATS`.

    Raises:
        UserError: it is none of them, or a folder holds several.
    """
    files = files_at(path, (".json", ".xml", ".csv", ".tsv", ".txt"), "files of clicks")
    # beside other files a text is a list of classes or a readme
    files = [each for each in files if each.suffix.lower() != ".txt"] or files
    kinds = {kind: file for file in files[:_LOOKED_AT] for kind in [_kind(file)]}
    known = {kind: file for kind, file in kinds.items() if kind is not None}
    if len(known) == 1 and len(kinds) == 1:
        return next(iter(known))
    if len(known) > 1:
        some = ", ".join(f"{kind} ({file.name})" for kind, file in sorted(known.items()))
        raise UserError(f"{path} holds several formats: {some}; give in=FILE or format=NAME")
    kept = f"; take it out of the folder of {next(iter(known))}" if known else ""
    raise UserError(
        f"the format of {kinds[None]} is unknown: it {_seems(kinds[None])}{kept}; or name the "
        f"format with format=, one of {', '.join(FORMATS)}"
    )


def _kind(file: Path) -> str | None:
    """The format of a file, None where it is none of ours."""
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
    """About what an XML says, whatever its encoding, which its own first line names."""
    with file.open("rb") as stream:
        return stream.read(40_000).replace(b"\0", b"").decode("latin-1")


def _seems(file: Path) -> str:
    """What a file of an unknown format seems to be."""
    ending = file.suffix.lower()
    if ending == ".json":
        return json_seems(json_of(file, "file of clicks"))
    if ending in (".xml", ".txt"):
        text = _text_of_xml(file) if ending == ".xml" else text_of(file, "text file of clicks")
        return text_seems(file, text.lstrip())
    return table_seems(table.header_of(file)[1])
