"""Descriptions of files of unknown formats, with the step that makes them readable."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from p2seg.errors import shown

NEEDED = "its first line must name file, x, y and label"


def table_seems(header: Sequence[str]) -> str:
    """Describes a table whose first line lacks a required column."""
    plain = ["".join(filter(str.isalnum, name)).lower() for name in header]
    names = set(plain)
    if len(header) in (6, 8) and all(map(_is_number, [*header[1:3], *header[-2:]])):
        if len(header) == 8:
            return (
                "seems to be a table of boxes of make-sense without a header; export its points, "
                "or make columns file, x, y and label from the centers of the boxes"
            )
        return (
            "seems to be a table of points of make-sense without a header; put "
            "label,x,y,file,image_width,image_height before its first line"
        )
    if {"xmin", "ymin"} <= names or {"bboxx", "bboxy"} <= names or {"x1", "y1", "x2"} <= names:
        return (
            "seems to be a table of boxes; make columns file, x, y and label from the centers of "
            "the boxes"
        )
    if names & {"area", "mean", "counter", "roi"} and {"x", "y"} <= names:
        return (
            "seems to be a results table of ImageJ; add a column file with the image's name, "
            "and a column label, or give the class with classes=[NAME]"
        )
    if header and any(map(_is_number, header)):
        return f"has no header: {NEEDED}"
    return f"has the columns {shown(', '.join(header))}: {NEEDED}"


def json_seems(content: Any) -> str:
    """Describes a JSON by the keys of its outermost object."""
    one = content[0] if isinstance(content, list) and content else content
    if not isinstance(one, dict):
        return "holds no object with annotations"
    if not one:
        return "holds an empty object"
    kind = "a list of objects" if one is not content else "an object"
    return f"is {kind} with the keys {shown(', '.join(sorted(map(str, one))))}"


def text_seems(path: Path, text: str) -> str:
    """Describes an XML or text file."""
    if path.suffix.lower() == ".xml":
        if "<annotation" in text[:10_000]:
            return (
                "seems to be an XML of boxes of Pascal VOC; make a table (CSV) with the columns "
                "file, x, y and label of the centers of the boxes"
            )
        return "is an XML, but not CVAT's; export it as CVAT for images 1.1"
    fields = text.partition("\n")[0].split()
    if len(fields) >= 5 and all(_is_number(each) and 0 <= float(each) <= 1 for each in fields[1:]):
        return (
            "seems to be a file of boxes or polygons of YOLO; make a table (CSV) with the columns "
            "file, x, y and label from the centers, in pixels"
        )
    return "is a text file without lines of x y class"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
