"""How a process of p2seg starts another one, without code of the folder that it runs in."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

# `python -m p2seg` would look for modules in the working folder first, and run what it finds there.
_CODE = "import sys; del sys.path[0]; from p2seg.cli.main import main; raise SystemExit(main())"


def words_before(command: str, words: Sequence[str]) -> list[str]:
    """What stands before a command's own words on the command line of this process.

    Args:
        command: its name, which is added where this process was not started by these words.
        words: its own.
    """
    before = len(sys.argv) - len(words)
    return sys.argv[:before] if sys.argv[before:] == list(words) else [sys.argv[0], command]


def start_again(command: str, program: Sequence[str]) -> list[str]:
    """The words that start a command as this process was started.

    Args:
        command: its name.
        program: as of `words_before`.
    """
    by_name = getattr(sys.modules["__main__"], "__spec__", None) is not None  # python -m p2seg
    if by_name or not Path(program[0]).is_file():
        return [sys.executable, "-m", "p2seg", command]
    return [sys.executable, str(Path(program[0]).absolute()), *program[1:]]


def start_apart(command: str, words: Sequence[str]) -> list[str]:
    """The words that start a command of options in a process of its own."""
    return [sys.executable, "-c", _CODE, command, *words]
