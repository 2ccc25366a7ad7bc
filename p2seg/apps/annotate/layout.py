"""The text of a points file: everything that the page does not use is preserved."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from p2seg.data.coco_variants import whole
from p2seg.data.json_text import TextList, extract_lists, replace_values, value_of
from p2seg.data.proposals import Source
from p2seg.data.records import ImageRecord
from p2seg.data.schema import DEEPEST, depth_of, storable, xy_inside
from p2seg.errors import UserError, shown

NEW = '{"info": {}, "images": [], "annotations": [], "categories": []}\n'
"""The content of a new points file."""


@dataclass(frozen=True)
class Layout:
    """A points file as text.

    Attributes:
        frame: the whole text, with empty lists.
        info: the text of the `info` object.
        encoding: encoding of the file, including the byte order.
        mark: the byte order mark at the start of the file, or an empty string.
        images, annotations, categories: the three lists.
    """

    frame: str
    info: str
    encoding: str
    mark: str
    images: TextList
    annotations: TextList
    categories: TextList

    @staticmethod
    def of(content: bytes | None) -> Layout:
        """Parses a file that `read_points` accepts; None returns the layout of a new file.

        Raises:
            UserError: a preserved value is nested too deeply to be copied.
        """
        encoding: str = "utf-8" if content is None else json.detect_encoding(content)
        # Python's "utf-16" and "utf-32" stand for the byte order of this machine.
        if content is not None and encoding in ("utf-16", "utf-32"):
            encoding += "-be" if content[0] in (0x00, 0xFE) else "-le"
        text = NEW if content is None else content.decode(encoding)
        mark = "\ufeff" if text.startswith("\ufeff") else ""
        text = text.removeprefix(mark)
        frame, lists = extract_lists(text, ("images", "annotations", "categories"))
        kept = chain([frame], *(each.items.values() for each in lists.values()))
        deep = next(filter(_is_deep, kept), None)
        if deep is not None:
            raise UserError(
                f"{shown(deep)} has more than {DEEPEST} levels of lists or objects; remove some"
            )
        info = value_of(frame, "info") or ""
        info = info if info.startswith("{") else "{}"
        return Layout(frame, info, encoding, mark, **lists)

    def filled(self, info: dict[str, Any], **lists: Iterable[str]) -> bytes:
        """Returns the bytes of the file with other entries.

        Args:
            info: values of `info` to replace or add.
            lists: the text of each entry of `images`, `annotations` and `categories`.
        """
        texts = {key: getattr(self, key).format(entries) for key, entries in lists.items()}
        own = replace_values(self.info, {key: json_of(value) for key, value in info.items()})
        return (self.mark + replace_values(self.frame, {"info": own, **texts})).encode(
            self.encoding
        )


def json_of(value: Any) -> str:
    """Returns the JSON text of a value."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def entry_of(
    id: int, image_id: int, category_id: int, x: float, y: float, source: Source | None = None
) -> str:
    """Returns the JSON text of a new entry of `annotations`; a click has no source."""
    ids = {"id": id, "image_id": image_id, "category_id": category_id}
    return json_of({**ids, "point": [x, y], **({} if source is None else {"source": source})})


def entry_or(text: Any, own: str, image: ImageRecord) -> str:
    """Returns the stored entry if it means the same as the page's own entry, else the own entry.

    Args:
        text: the stored entry. Other programs may have changed it or added keys.
        own: the entry that the page would write.
        image: the image of the entry.
    """
    stored, expected = _loaded(text), json.loads(own)
    if not isinstance(stored, dict):
        return own
    point = expected.pop("point", None)
    same = point is None or _is_point(stored.get("point"), point, image)
    same = same and all(whole(stored.get(key)) == value for key, value in expected.items())
    return str(text) if same else own


def is_point(text: Any, x: float, y: float, image: ImageRecord) -> bool:
    """Returns whether the JSON text of a `point` equals this position up to rounding."""
    return _is_point(_loaded(text), (x, y), image)


def _is_point(value: Any, xy: Sequence[float], image: ImageRecord) -> bool:
    try:
        y, x = xy_inside(value, 0, image)
    except UserError:
        return False
    return all(
        math.isclose(*each, rel_tol=1e-6, abs_tol=1e-6) for each in zip((x, y), xy, strict=True)
    )


def _is_deep(text: str) -> bool:
    if text.count("[") + text.count("{") <= DEEPEST:
        return False
    try:
        return depth_of(json.loads(text)) > DEEPEST
    except RecursionError:
        return True


def _loaded(text: Any) -> Any:
    """Returns the value of a JSON text, or None if the text is invalid."""
    try:
        return json.loads(text) if isinstance(text, str) and storable(text) else None
    except (ValueError, RecursionError):
        return None
