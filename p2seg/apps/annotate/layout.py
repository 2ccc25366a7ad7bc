"""The text of the points file around its points: what the page does not know stays as it is."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from p2seg.data.coco_variants import whole
from p2seg.data.json_text import TextList, extract_lists, replace_values, value_of
from p2seg.data.records import ImageRecord
from p2seg.data.schema import DEEPEST, depth_of, storable, xy_inside
from p2seg.errors import UserError, shown

NEW = '{"info": {}, "images": [], "annotations": [], "categories": []}\n'
"""A points file that does not exist yet."""


@dataclass(frozen=True)
class Layout:
    """A points file as text.

    Attributes:
        frame: the whole text with empty lists.
        info: the text of its `info` object.
        encoding: of the file, with the order of its bytes.
        mark: the byte order mark that the file begins with, or nothing.
        images, annotations, categories: its lists.
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
        """The layout of a file that `read_points` accepts; None: of a new one.

        Raises:
            UserError: what is kept has too many levels to be copied.
        """
        encoding: str = "utf-8" if content is None else json.detect_encoding(content)
        if content is not None and encoding in ("utf-16", "utf-32"):  # which mean this machine's
            encoding += "-be" if content[0] in (0x00, 0xFE) else "-le"
        text = NEW if content is None else content.decode(encoding)
        mark = "\ufeff" if text.startswith("\ufeff") else ""
        text = text.removeprefix(mark)
        frame, lists = extract_lists(text, ("images", "annotations", "categories"))
        kept = chain([frame], *(each.items.values() for each in lists.values()))
        deep = next(filter(_is_deep, kept), None)
        if deep is not None:
            raise UserError(
                f"{shown(deep)} has lists or objects of more than {DEEPEST} levels; remove them"
            )
        info = value_of(frame, "info") or ""
        info = info if info.startswith("{") else "{}"
        return Layout(frame, info, encoding, mark, **lists)

    def filled(self, info: dict[str, Any], **lists: Iterable[str]) -> bytes:
        """The file with other entries.

        Args:
            info: values of `info` that are replaced or added.
            lists: the text of each entry of `images`, `annotations` and `categories`.
        """
        texts = {key: getattr(self, key).format(entries) for key, entries in lists.items()}
        own = replace_values(self.info, {key: json_of(value) for key, value in info.items()})
        return (self.mark + replace_values(self.frame, {"info": own, **texts})).encode(
            self.encoding
        )


def json_of(value: Any) -> str:
    """A value as the page writes it."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def entry_of(id: int, image_id: int, category_id: int, x: float, y: float) -> str:
    """A new entry of `annotations`."""
    ids = {"id": id, "image_id": image_id, "category_id": category_id}
    return json_of({**ids, "point": [x, y]})


def entry_or(text: Any, own: str, image: ImageRecord) -> str:
    """An entry that was kept, if it says the same as what the page would write.

    Args:
        text: the entry, which others may have changed; it may hold keys that the page does not
            know.
        own: what the page would write, which is the result otherwise.
        image: of the entry.
    """
    found, wanted = _loaded(text), json.loads(own)
    if not isinstance(found, dict):
        return own
    point = wanted.pop("point", None)
    fits = point is None or _is_point(found.get("point"), point, image)
    same = fits and all(whole(found.get(key)) == value for key, value in wanted.items())
    return str(text) if same else own


def is_point(text: Any, x: float, y: float, image: ImageRecord) -> bool:
    """Whether the text of a `point`, which others may have changed, is this place to rounding."""
    return _is_point(_loaded(text), (x, y), image)


def _is_point(value: Any, wanted: Sequence[float], image: ImageRecord) -> bool:
    try:
        y, x = xy_inside(value, 0, image)
    except UserError:
        return False
    return all(
        math.isclose(*each, rel_tol=1e-6, abs_tol=1e-6) for each in zip((x, y), wanted, strict=True)
    )


def _is_deep(text: str) -> bool:
    if text.count("[") + text.count("{") <= DEEPEST:
        return False
    try:
        return depth_of(json.loads(text)) > DEEPEST
    except RecursionError:
        return True


def _loaded(text: Any) -> Any:
    """What a text holds; None if it is none."""
    try:
        return json.loads(text) if isinstance(text, str) and storable(text) else None
    except (ValueError, RecursionError):
        return None
