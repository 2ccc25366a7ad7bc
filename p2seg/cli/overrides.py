"""Arguments of a command line, rewritten for Hydra: paths and other values are quoted."""

from __future__ import annotations

import argparse
import csv
import re
from pathlib import Path
from typing import NoReturn

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from p2seg.cli.config_files import check_configs
from p2seg.errors import UserError
from p2seg.runtime.settings import path_settings

OVERRIDE = re.compile(r"^(\+{0,2}[\w@./-]+)=(.*)$", re.DOTALL)
DELETION = re.compile(r"^~[\w@./-]+(=.*)?$", re.DOTALL)
REMEDY = "settings are written key=value"
# Values of these keys are paths and always quoted. Other values follow Hydra's grammar, and are
# quoted only if Hydra cannot parse them.
PATH_KEYS = path_settings() | {"out", "url", "data.root"}


def literal(text: str) -> str:
    """The text with `${` escaped, so that a config does not read it as a reference."""
    return re.sub(r"(\\*)\$\{", r"\1\1\\${", text)


def quoted(override: str) -> str:
    """The override for Hydra, with paths and unparsable values in quotes."""
    match = OVERRIDE.match(override)
    if not match:
        return override
    key, value = match.groups()
    is_path = key.lstrip("+") in PATH_KEYS
    if not value or (value in ("null", "none") and is_path):
        return override
    if not is_path:
        if _is_parsed(override):
            return override
        as_list = f"{key}={_list_of_texts(value)}"
        if _is_parsed(as_list):
            return as_list
    if is_path:
        value = literal(value)
    return f"{key}={_in_quotes(value)}"


def _is_parsed(override: str) -> bool:
    """Whether Hydra can parse an override."""
    try:
        OverridesParser.create().parse_override(override)
    except HydraException:
        return False
    return True


def _list_of_texts(value: str) -> str:
    """A list such as `[été 2024, b (c)]` with quoted texts; other values as they are."""
    if not (value.startswith("[") and value.endswith("]")) or not value.isprintable():
        return value
    [texts] = csv.reader([value[1:-1]], quotechar="'", skipinitialspace=True)
    return f"[{','.join(_in_quotes(text.strip()) for text in texts)}]"


def _in_quotes(text: str) -> str:
    escaped = re.sub(r"(\\*)'", r"\1\1\\'", text)  # backslashes count only before a quote
    escaped = re.sub(r"(\\+)\Z", r"\1\1", escaped)
    return f"'{escaped}'"


class Options(argparse.ArgumentParser):
    """Hydra's options that p2seg accepts."""

    def __init__(self) -> None:
        super().__init__(add_help=False)
        self.add_argument("overrides", nargs="*")
        for names in (
            ("--help", "-h"),
            ("--hydra-help",),
            ("--version",),
            ("--resolve",),
            ("--run", "-r"),
            ("--multirun", "-m"),
            ("--shell-completion", "-sc"),
        ):
            self.add_argument(*names, action="store_true")
        for names in (
            ("--package", "-p"),
            ("--config-path", "-cp"),
            ("--config-name", "-cn"),
            ("--config-dir", "-cd"),
        ):
            self.add_argument(*names)
        self.add_argument("--cfg", "-c", choices=("job", "hydra", "all"))
        self.add_argument("--info", "-i", nargs="?", const="all")

    def error(self, message: str) -> NoReturn:
        """Raises the message as `UserError`."""
        raise UserError(f"{message}; {REMEDY}")


def read_options(arguments: list[str]) -> argparse.Namespace:
    """Hydra's options among the arguments, and the settings as `overrides`.

    Raises:
        UserError: an option is unknown.
    """
    return Options().parse_args(arguments)


def check_arguments(arguments: list[str]) -> None:
    """Rejects arguments that are neither settings nor options of Hydra."""
    options = read_options(arguments)
    for folder in filter(None, (options.config_dir, options.config_path)):
        check_configs(Path(folder))
    for override in options.overrides:
        if not OVERRIDE.match(override) and not DELETION.match(override):
            raise UserError(f"{override!r} is not a setting; {REMEDY}")
