"""A JSON file read piece by piece: of its long lists some thousand items are in memory at a time.

Python's own parser does the work, so that what it takes for JSON stays JSON here. It is called for
one value after the other on a window of the text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TextIO

from p2seg.errors import UserError
from p2seg.files import encoding_of, not_utf8

Taker = Callable[[list[Any]], None]

BLOCK = 1 << 22
"""Characters that are read at once."""
ITEMS = 4096
"""Items that are handed out at once."""
_SPACE = re.compile(r"[ \t\n\r]*")
_COMMA = re.compile(r"[ \t\n\r]*,[ \t\n\r]*")
_decode = json.JSONDecoder().raw_decode
_LONGEST_CUT = 3
"""Of a number that the window's end cuts, `1e+`, Python takes the front and leaves as many."""


def read_streamed(path: Path, what: str, takers: Mapping[str, Taker]) -> Any:
    """Reads a JSON file whose long lists are handed out in parts.

    Args:
        path: the file.
        what: what the file should be, for the error ("points file").
        takers: by key of the outermost object: called with the next items of that key's list.
            What they raise comes through.

    Returns:
        What the file holds, as `json.loads` gives it, but with an empty list for each that was
        handed out.

    Raises:
        UserError: there is no such file, it is no JSON, or it has two lists of one taker.
    """
    if not path.is_file():
        raise UserError(f"no {what} at {path}: give the path of an existing JSON file")
    try:
        with path.open(encoding=encoding_of(path)) as stream:
            return _Window(stream).document(takers)
    except UnicodeDecodeError as error:
        raise not_utf8(path, what, error) from error
    except (ValueError, RecursionError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path} is not a readable {what}: {reason}; it must be JSON") from error


class _Window:
    """The part of a text that is looked at."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.text = ""
        self.at = 0
        self.passed = 0  # characters before the window
        self.lines = 0  # line ends before the window
        self.column = 0  # characters of the window's first line that are before the window

    def document(self, takers: Mapping[str, Taker]) -> Any:
        content = self._object(takers) if self.next() == "{" else self.value()
        if self.next():
            raise self._mistake("Extra data")
        return content

    def _object(self, takers: Mapping[str, Taker]) -> dict[str, Any]:
        content: dict[str, Any] = {}
        taken = set[str]()
        self.at += 1
        if self.next() == "}":
            self.at += 1
            return content
        while True:
            if self.next() != '"':
                raise self._mistake("Expecting property name enclosed in double quotes")
            key = self.value()
            if self.next() != ":":
                raise self._mistake("Expecting ':' delimiter")
            self.at += 1
            if self.next() == "[" and key in takers:
                if key in taken:
                    raise ValueError(f"it has two lists '{key}'")
                taken.add(key)
                self._list(takers[key])
                content[key] = []
            else:
                content[key] = self.value()
            if self._ended("}"):
                return content

    def _list(self, take: Taker) -> None:
        self.at += 1
        if self.next() == "]":
            self.at += 1
            return
        items: list[Any] = []
        while True:
            items.append(self.value())
            comma = _COMMA.match(self.text, self.at)
            if comma is not None and comma.end() < len(self.text):
                self.at = comma.end()
            elif self._ended("]"):
                break
            else:
                self.next()
            if len(items) == ITEMS:
                take(items)
                items = []
        take(items)

    def _ended(self, closing: str) -> bool:
        """Steps over a comma, or over the end."""
        after = self.next()
        if after not in (",", closing) or not after:
            raise self._mistake("Expecting ',' delimiter")
        self.at += 1
        return after == closing

    def next(self) -> str:
        """Steps over space; the character there, or nothing at the text's end."""
        while True:
            self.at = _SPACE.match(self.text, self.at).end()  # type: ignore[union-attr]
            if self.at < len(self.text):
                return self.text[self.at]
            if not self._more():
                return ""

    def value(self) -> Any:
        """The value that begins here."""
        while True:
            try:
                value, end = _decode(self.text, self.at)
            except json.JSONDecodeError as error:
                if self._more():
                    continue
                raise self._mistake(error.msg, error) from error
            if end + _LONGEST_CUT > len(self.text) and self._more():
                continue
            self.at = end
            return value

    def _more(self) -> bool:
        """Widens the window, at least to double so that one long value takes linear time."""
        block = self.stream.read(max(BLOCK, len(self.text) - self.at))
        if not block:
            return False
        before = self.text[: self.at]
        lines = before.count("\n")
        self.column = len(before) - before.rfind("\n") - 1 + (0 if lines else self.column)
        self.lines += lines
        self.passed += self.at
        self.text = self.text[self.at :] + block
        self.at = 0
        return True

    def _mistake(self, said: str, error: json.JSONDecodeError | None = None) -> ValueError:
        """A sentence such as the parser's own, with the place in the whole text."""
        found = error or json.JSONDecodeError(said, self.text, self.at)
        column = found.colno + (self.column if found.lineno == 1 else 0)
        place = f"line {self.lines + found.lineno} column {column}"
        return ValueError(f"{said}: {place} (char {self.passed + found.pos})")
