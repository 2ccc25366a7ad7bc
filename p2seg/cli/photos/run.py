"""Runs plain commands, and tells them from commands of settings."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from p2seg.cli.photos.options import ALONE, COMMANDS

if TYPE_CHECKING:
    from p2seg.cli.arguments import Parser

_SETTING = re.compile(r"^(~|\+|[\w@./-]+=)")
_HYDRA = re.compile(r"^(-m|-c|--multirun|--cfg|--help-all|--config-dir)$")


def is_plain(name: str, words: Sequence[str]) -> bool:
    """Returns whether the command line is a plain command; the first word decides.

    Args:
        name: of the command.
        words: after it.
    """
    if name not in COMMANDS or name in ALONE:
        return name in ALONE
    return not any(map(_is_setting, words[:1])) and not any(map(_HYDRA.match, words))


def _is_setting(word: str) -> bool:
    return bool(_SETTING.match(word)) and not Path(word).exists()


def parser_of(name: str) -> Parser:
    """The parser of a plain command."""
    from p2seg.cli.arguments import Parser  # imports rich

    own = COMMANDS[name]
    parser = Parser(prog=f"p2seg {name}", description=f"{own.help[0].upper()}{own.help[1:]}.")
    for option in own.options:
        default = option.arguments.get("default")
        told = f"{option.help} (default: {default})" if default is not None else option.help
        if option.arguments.get("action") == "store_true":
            told = option.help
        parser.add_argument(option.name, help=told.replace("%", "%%"), **option.arguments)
    parser.epilog = f"Reads: {own.reads}. Writes: {own.writes}."
    if own.steps:
        parser.epilog += (
            " Further words key=value are settings; p2seg experiment "
            f"{own.steps[-1]} --help lists them."
        )
    return parser


def run_plain(name: str, words: list[str]) -> int:
    """Runs a plain command and returns its exit code."""
    from p2seg.cli.arguments import command
    from p2seg.errors import UserError
    from p2seg.runtime.terminal import phrased

    codes: list[int] = []

    @command
    def started(words: list[str]) -> None:
        settings = list(filter(_is_setting, words))
        if settings and not COMMANDS[name].steps:
            raise UserError(f"p2seg {name} takes no settings ({settings[0]}); see p2seg {name} -h")
        options = parser_of(name).parse_args([each for each in words if each not in settings])
        options.settings = settings
        module = name if name in ("masks", "propose", "review") else "commands"
        function = getattr(import_module(f"p2seg.cli.photos.{module}"), f"{name}_")
        codes.append(function(options))

    with phrased(partial(COMMANDS[name].phrase, name)):
        code = started(words)
    return code or codes[0]
