"""Text from files on a terminal: what would steer the terminal is shown instead of obeyed."""

from __future__ import annotations

import unicodedata
from typing import Any

from rich.console import Console
from rich.text import Text


def printable(text: str) -> str:
    r"""The text with control characters, half letters and turns of direction as `\x1b`, `\u202e`.

    Line ends and tabs stay.
    """
    if text.isprintable():
        return text
    return "".join(each if _harmless(each) else _escaped(each) for each in text)


def _harmless(letter: str) -> bool:
    # Cc: controls; Cs: half letters, which no file can hold; bidirectional marks hide endings
    return letter in "\n\t" or (
        unicodedata.category(letter) not in ("Cc", "Cs") and letter not in _TURNS
    )


_TURNS = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


def _escaped(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii")


class Terminal(Console):
    """A console of rich that shows text from files and obeys none of it."""

    def render_str(self, text: str, **options: Any) -> Text:
        """As rich does it, after `printable`."""
        return super().render_str(printable(text), **options)
