"""Safe terminal output: control characters are escaped, and a closed terminal ends no command.

When a terminal is closed (a lost SSH connection) or the reader of a pipe has ended (`| tee log`),
further output is discarded.
"""

from __future__ import annotations

import errno
import os
import sys
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from rich.console import Console
from rich.text import Text


def printable(text: str) -> str:
    r"""Escapes control characters, lone surrogates and bidirectional marks as `\x1b`, `\u202e`.

    Newlines and tabs are kept.
    """
    if text.isprintable():
        return text
    return "".join(each if _harmless(each) else _escaped(each) for each in text)


def _harmless(letter: str) -> bool:
    # Cc: control characters; Cs: surrogates, which UTF-8 cannot encode. Bidirectional marks can
    # hide a file's extension.
    return letter in "\n\t" or (
        unicodedata.category(letter) not in ("Cc", "Cs") and letter not in _TURNS
    )


_TURNS = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


def _escaped(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii")


_LOST = (errno.EIO, errno.EPIPE)
"""Error numbers of a write to a closed terminal, and to a pipe without a reader."""


def drop_lost_outputs() -> None:
    """Keeps the exit code of this process if its stdout or stderr is closed.

    Python flushes both on exit, and would replace the exit code by 120 if that fails.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError as error:
            if error.errno in _LOST:
                _drop(stream)


def _drop(stream: IO[str]) -> None:
    """Discards all further output of a stream."""
    with suppress(OSError, ValueError), Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), stream.fileno())


_PHRASES: list[Callable[[str], str]] = []


@contextmanager
def phrased(phrase: Callable[[str], str]) -> Iterator[None]:
    """Changes the words of everything that terminals print meanwhile."""
    _PHRASES.append(phrase)
    try:
        yield
    finally:
        _PHRASES.remove(phrase)


class Terminal(Console):
    """A rich console that escapes control characters and tolerates a closed output."""

    def __exit__(self, *error: object) -> None:
        """Writes the buffered output, or discards it if the output is closed."""
        try:
            super().__exit__(*error)
        except OSError as failure:
            if failure.errno not in _LOST:
                raise
            _drop(self.file)

    def on_broken_pipe(self) -> None:
        """Discards further output, where rich would end the program."""
        _drop(self.file)

    def render_str(self, text: str, **options: Any) -> Text:
        """Escapes the text with `printable` before rich renders it; see also `phrased`."""
        for phrase in _PHRASES:
            text = phrase(text)
        return super().render_str(printable(text), **options)
