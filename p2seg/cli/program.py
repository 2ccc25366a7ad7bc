"""Command lines of new p2seg processes that run no code of the working folder."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

# `python -m p2seg` would import modules of the working folder first.
_CODE = "import sys; del sys.path[0]; from p2seg.cli.main import main; raise SystemExit(main())"


def words_before(command: str, words: Sequence[str]) -> list[str]:
    """The words before a command's arguments on the command line of this process.

    Args:
        command: name of the command; added if this process was started otherwise.
        words: arguments of the command.
    """
    before = len(sys.argv) - len(words)
    return sys.argv[:before] if sys.argv[before:] == list(words) else [sys.argv[0], command]


def start_again(command: str, program: Sequence[str]) -> list[str]:
    """The words that start a command in the same way as this process.

    Args:
        command: name of the command.
        program: returned by `words_before`.
    """
    by_name = getattr(sys.modules["__main__"], "__spec__", None) is not None  # python -m p2seg
    if by_name or not Path(program[0]).is_file():
        return [sys.executable, "-m", "p2seg", command]
    return [sys.executable, str(Path(program[0]).absolute()), *program[1:]]


def start_apart(command: str, words: Sequence[str]) -> list[str]:
    """The words that start a command with options in a new process."""
    return [sys.executable, "-c", _CODE, command, *words]
