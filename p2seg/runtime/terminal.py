"""Text from files on a terminal: what would steer the terminal is shown instead of obeyed.

A terminal that has closed, such as that of a lost SSH connection, ends no work: what would be
written to it is dropped. So it is with a pipe whose reader has ended (`| tee log`).
"""

from __future__ import annotations

import errno
import os
import sys
import unicodedata
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

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


_LOST = (errno.EIO, errno.EPIPE)
"""What a write to a closed terminal and to a pipe without a reader fails with."""


def drop_lost_outputs() -> None:
    """Lets this process end with its own exit code if its stdout or stderr is lost.

    Python tries at its end to write what is left of both, and exits with 120 if it cannot.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError as error:
            if error.errno in _LOST:
                _drop(stream)


def _drop(stream: IO[str]) -> None:
    """Drops what a stream writes from now on."""
    with suppress(OSError, ValueError), Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), stream.fileno())


class Terminal(Console):
    """A console of rich that shows text from files, obeys none of it, and outlives its output."""

    def __exit__(self, *error: object) -> None:
        """Writes what was printed, as rich does it, or drops it if the output is lost."""
        try:
            super().__exit__(*error)
        except OSError as failure:
            if failure.errno not in _LOST:
                raise
            _drop(self.file)

    def on_broken_pipe(self) -> None:
        """Where rich would end the program."""
        _drop(self.file)

    def render_str(self, text: str, **options: Any) -> Text:
        """As rich does it, after `printable`."""
        return super().render_str(printable(text), **options)
