"""Edits JSON text: replaces some values and keeps every other character.

Parsing and writing a value again would change the spelling of its numbers (`12.30`), its escapes
and its layout. The functions here expect text that Python's parser accepts as a JSON object.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from p2seg.data.coco_variants import whole

_decode = json.JSONDecoder().raw_decode
_SPACE = re.compile(r"[ \t\n\r]*")
_LAST_LINE = re.compile(r"\r?\n[ \t]*\Z")


@dataclass(frozen=True)
class TextList:
    """A JSON list of objects as text.

    Attributes:
        items: the text of each object by its id, in the order of the list.
        opening, between, closing: the text around the objects: brackets, commas and white space.
    """

    items: dict[int, str] = field(default_factory=dict)
    opening: str = "["
    between: str = ", "
    closing: str = "]"

    def format(self, items: Iterable[str]) -> str:
        """The text of a list of other objects in the same layout."""
        return f"{self.opening}{self.between.join(items)}{self.closing}"


def value_of(text: str, key: str) -> str | None:
    """The text of a value of an object; None if the object does not have the key."""
    spans = _spans(text)
    return text[slice(*spans[key])] if key in spans else None


def replace_values(text: str, values: Mapping[str, str]) -> str:
    """Replaces or appends values of an object.

    Args:
        text: the object.
        values: the text of each new value by its key; missing keys are appended.
    """
    spans = _spans(text)
    pieces, copied = [], 0
    for start, end, key in sorted((*spans[key], key) for key in spans.keys() & values.keys()):
        pieces += [text[copied:start], values[key]]
        copied = end
    new = [f"{json.dumps(key)}: {values[key]}" for key in values if key not in spans]
    if new:
        last = len(text[: text.rindex("}")].rstrip())
        pieces += [text[copied:last], ", " * bool(spans), ", ".join(new)]
        copied = last
    return "".join([*pieces, text[copied:]])


def extract_lists(text: str, keys: Collection[str]) -> tuple[str, dict[str, TextList]]:
    """Empties the lists under some keys of an object.

    Args:
        text: the object; each of these lists contains objects with different ids.
        keys: the keys of the lists.

    Returns:
        The text with the empty lists, and the original lists by key.
    """
    lists: dict[str, TextList] = {}

    def end_of(key: str, start: int) -> int:
        if key not in keys or text[start] != "[":
            return _value_end(text, start)
        lists[key], end = _list_at(text, start)
        return end

    pieces, copied = [], 0
    for key, start, end in _members(text, end_of):
        if key in keys and text[start] == "[":
            pieces += [text[copied:start], "[]"]
            copied = end
    return "".join([*pieces, text[copied:]]), lists


def _spans(text: str) -> dict[str, tuple[int, int]]:
    """Start and end of each value of an object; of equal keys the last one counts."""
    members = _members(text, lambda _, start: _value_end(text, start))
    return {key: (start, end) for key, start, end in members}


def _members(text: str, end_of: Callable[[str, int], int]) -> Iterator[tuple[str, int, int]]:
    """Key, start and end of each value of an object; `end_of` computes the end."""
    at = _next(text, _next(text, 0) + 1)
    while text[at] != "}":
        key, at = _decode(text, at)
        start = _next(text, _next(text, at) + 1)
        end = end_of(key, start)
        yield key, start, end
        at = _skip_comma(text, end)


def _list_at(text: str, start: int) -> tuple[TextList, int]:
    """The list of objects that starts at an index, and the index of its end."""
    items: dict[int, str] = {}
    spans = []
    at = _next(text, start + 1)
    while text[at] != "]":
        value, end = _decode(text, at)
        items[whole(value["id"])] = text[at:end]
        spans.append((at, end))
        at = _skip_comma(text, end)
    if not spans:  # items added later go before the line of the closing bracket
        last = _LAST_LINE.search(text[start:at])
        middle = start + last.start() if last else start + 1
        opening, closing = text[start:middle], text[middle : at + 1]
        return TextList({}, opening, f",{opening[1:] or ' '}", closing), at + 1
    opening, closing = text[start : spans[0][0]], text[spans[-1][1] : at + 1]
    between = text[spans[0][1] : spans[1][0]] if len(spans) > 1 else f",{opening[1:] or ' '}"
    return TextList(items, opening, between, closing), at + 1


def _value_end(text: str, start: int) -> int:
    end: int = _decode(text, start)[1]
    return end


def _next(text: str, at: int) -> int:
    """The first index from `at` on that is not white space."""
    space = _SPACE.match(text, at)
    return space.end() if space else at


def _skip_comma(text: str, at: int) -> int:
    """The index of the next token after a value and an optional comma."""
    at = _next(text, at)
    return _next(text, at + 1) if text[at] == "," else at
