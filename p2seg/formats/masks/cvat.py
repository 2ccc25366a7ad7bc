"""Masks in "CVAT for images 1.1": one XML of the whole set."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from xml.sax.saxutils import XMLGenerator

import numpy as np
from numpy.typing import NDArray

from p2seg.apps.report.pictures import palette
from p2seg.data.rle import decode
from p2seg.formats.masks.base import Entry, SetFormat, click_of
from p2seg.formats.masks.polygons import Ring, parts_of
from p2seg.runtime.files import atomic_path, write_json

NO_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 cannot represent."""


class Cvat(SetFormat):
    """`annotations.xml`, and `labels.json` with the labels for CVAT's project page.

    CVAT finds an image by its name in the task, which is the path below the uploaded folder. A
    character that XML cannot represent becomes U+FFFD.
    """

    def finish(self, entries_of: Callable[[], Iterable[Entry]]) -> None:
        names = [category.name for category in self.categories]
        colors = ["#" + bytes(color).hex() for color in palette(len(names))]
        labels = [
            {"name": name, "color": color, "type": "any", "attributes": [SCORE]}
            for name, color in zip(names, colors, strict=True)
        ]
        path = self.folder / "annotations.xml"
        with atomic_path(path) as temporary, temporary.open("wb") as stream:
            sheet = _Sheet(XMLGenerator(stream, "utf-8", short_empty_elements=True))
            sheet.pen.startDocument()
            with sheet.tag("annotations"):
                sheet.text("version", "1.1")
                _write_labels(sheet, names, colors)
                for number, entry in enumerate(entries_of()):
                    self._write_image(sheet, number, entry, names)
        write_json(self.folder / "labels.json", labels, indent=2)

    def _write_image(self, sheet: _Sheet, number: int, entry: Entry, names: Sequence[str]) -> None:
        record = entry.record
        image = {"id": number, "name": record.file_name}
        with sheet.tag("image", image | {"width": record.width, "height": record.height}):
            for group, instance in enumerate(entry.instances, start=1):
                mask = decode(instance.rle)
                parts = parts_of(mask)
                as_polygons = self.options.polygons and not any(part.holes for part in parts)
                click = click_of(instance, record) if self.options.points else None
                count = (len(parts) if as_polygons else 1) + (click is not None)
                common = {"label": names[instance.label - 1], "source": "auto", "occluded": 0}
                end = {"z_order": 0} | ({"group_id": group} if count > 1 else {})
                score = round(instance.score, 4)
                if not as_polygons:
                    sheet.shape("mask", common | mask_attributes(mask) | end, score)
                for part in parts if as_polygons else []:
                    corners = {"points": _corners(part.outline)}
                    sheet.shape("polygon", common | corners | end, score)
                if click is not None:
                    place = f"{click[0]:.2f},{click[1]:.2f}"
                    sheet.shape("points", common | {"points": place} | end, score)


SCORE: dict[str, Any] = {
    "name": "score",
    "mutable": False,
    "input_type": "text",
    "default_value": "",
    "values": [""],
}
"""The attribute of every label for the confidence of the model."""


def mask_attributes(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """CVAT's attributes of a mask: its bounding box, and the row-major run lengths in the box.

    Args:
        mask: `[H, W]` bool, not empty.
    """
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    top, left = int(rows[0]), int(columns[0])
    window = mask[top : rows[-1] + 1, left : columns[-1] + 1]
    runs = run_lengths(window.ravel())
    height, width = window.shape
    rle = ", ".join(map(str, runs.tolist()))
    return {"rle": rle, "left": left, "top": top, "width": width, "height": height}


def run_lengths(values: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Lengths of the runs of equal values. The first run is False and may have length 0."""
    ends = np.flatnonzero(values[1:] != values[:-1]) + 1
    runs = np.diff(np.concatenate([[0], ends, [len(values)]]))
    return np.concatenate([[0], runs]) if values[0] else runs


def _corners(ring: Ring) -> str:
    return ";".join(f"{x}.00,{y}.00" for x, y in ring.tolist())


def _write_labels(sheet: _Sheet, names: Sequence[str], colors: Sequence[str]) -> None:
    with sheet.tag("meta"), sheet.tag("task"), sheet.tag("labels"):
        for name, color in zip(names, colors, strict=True):
            with sheet.tag("label"):
                for key, text in (("name", name), ("color", color), ("type", "any")):
                    sheet.text(key, text)
                with sheet.tag("attributes"), sheet.tag("attribute"):
                    for key in ("name", "mutable", "input_type", "default_value"):
                        sheet.text(key, str(SCORE[key]))
                    sheet.text("values", "")


class _Sheet:
    """Streaming XML writer with one tag per line."""

    def __init__(self, pen: XMLGenerator) -> None:
        self.pen = pen
        self._depth = 0

    @contextmanager
    def tag(self, name: str, attributes: dict[str, Any] | None = None) -> Iterator[None]:
        self._line()
        self.pen.startElement(name, _escaped(attributes or {}))
        self._depth += 1
        yield
        self._depth -= 1
        self._line()
        self.pen.endElement(name)

    def text(self, name: str, text: str, attributes: dict[str, Any] | None = None) -> None:
        self._line()
        self.pen.startElement(name, _escaped(attributes or {}))
        self.pen.characters(_xml(text))
        self.pen.endElement(name)

    def shape(self, kind: str, attributes: dict[str, Any], score: float) -> None:
        with self.tag(kind, attributes):
            self.text("attribute", str(score), {"name": "score"})

    def _line(self) -> None:
        self.pen.ignorableWhitespace("\n" + "  " * self._depth)


def _escaped(attributes: dict[str, Any]) -> Any:
    return {key: _xml(str(value)) for key, value in attributes.items()}


def _xml(text: str) -> str:
    return NO_XML.sub("\ufffd", text)  # a name must not abort a long export at its end
