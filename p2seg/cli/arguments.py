"""Command lines of the scripts: options, progress bars, and error messages."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NoReturn

from rich.progress import track

from p2seg.errors import UserError, refusal
from p2seg.runtime.lifetime import end_with_parent
from p2seg.runtime.terminal import Terminal

CONSOLE = Terminal(stderr=True, soft_wrap=True, highlight=False, markup=False)


class Parser(argparse.ArgumentParser):
    """An argument parser that raises `UserError`."""

    def error(self, message: str) -> NoReturn:
        """Raises the message as `UserError`."""
        raise UserError(f"{message}; see {self.prog} --help")


def command(function: Callable[[list[str]], Any]) -> Callable[..., int]:
    """Turns a function of a list of arguments into a command.

    The command takes the arguments (default: those of the process) and returns the exit code: 0,
    or 2 after a `UserError`, which is printed.
    """

    def run(words: list[str] | None = None) -> int:
        end_with_parent()
        try:
            function(sys.argv[1:] if words is None else words)
        except UserError as error:
            CONSOLE.print(str(error))
            return 2
        except OSError as error:
            if not error.strerror:
                raise
            CONSOLE.print(refusal(error))
            return 2
        except KeyboardInterrupt:
            CONSOLE.print("stopped by Ctrl-C; all written files are complete")
            return 130
        return 0

    return run


def path(value: str) -> Path:
    """A path, for `add_argument`."""
    return Path(value).expanduser()


def progress(title: str) -> Callable[[list[str]], Iterable[str]]:
    """Iterates over a list and shows a progress bar."""
    return lambda names: track(names, description=title, console=CONSOLE)
