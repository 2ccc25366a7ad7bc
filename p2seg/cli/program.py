"""Command lines of new p2seg processes that run no code of the working folder."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

# `python -m p2seg` would import modules of the working folder first.
_CODE = "import sys; del sys.path[0]; from p2seg.cli.main import main; raise SystemExit(main())"


def launch_prefix(command: str, arguments: Sequence[str]) -> list[str]:
    """The command line of this process, without the arguments of the command.

    Args:
        command: name of the command; added if this process was started otherwise.
        arguments: arguments of the command.
    """
    before = len(sys.argv) - len(arguments)
    return sys.argv[:before] if sys.argv[before:] == list(arguments) else [sys.argv[0], command]


def start_again(command: str, program: Sequence[str]) -> list[str]:
    """The command line that starts a command in the same way as this process.

    Args:
        command: name of the command.
        program: returned by `launch_prefix`.
    """
    by_name = getattr(sys.modules["__main__"], "__spec__", None) is not None  # python -m p2seg
    if by_name or not Path(program[0]).is_file():
        return [sys.executable, "-m", "p2seg", command]
    return [sys.executable, str(Path(program[0]).absolute()), *program[1:]]


def start_apart(command: str, arguments: Sequence[str]) -> list[str]:
    """The command line that starts a command with options."""
    return [sys.executable, "-c", _CODE, command, *arguments]
