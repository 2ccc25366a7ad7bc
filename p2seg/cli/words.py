"""The words of a command line: settings with plain paths, as Hydra must see them."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import NoReturn

from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from p2seg.cli.config_files import check_configs
from p2seg.errors import UserError
from p2seg.runs.settings import path_settings

OVERRIDE = re.compile(r"^(\+{0,2}[\w@./-]+)=(.*)$", re.DOTALL)


DELETION = re.compile(r"^~[\w@./-]+(=.*)?$", re.DOTALL)


PATH_KEYS = path_settings() | {"out", "url", "data.root"}


def literal(text: str) -> str:
    """A text as a config must hold it so that `${` in it refers to nothing."""
    return re.sub(r"(\\*)\$\{", r"\1\1\\${", text)


def quoted(override: str) -> str:
    """The override as Hydra must see it: paths and whatever it cannot parse in quotes."""
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
    """Whether Hydra takes an override as it is."""
    try:
        OverridesParser.create().parse_override(override)
    except HydraException:
        return False
    return True


def _list_of_texts(value: str) -> str:
    """`[été 2024, b (c)]`, which Hydra refuses, with its texts in quotes; or the value."""
    if not (value.startswith("[") and value.endswith("]")) or not value.isprintable():
        return value
    [texts] = csv.reader([value[1:-1]], quotechar="'", skipinitialspace=True)
    return f"[{','.join(_in_quotes(text.strip()) for text in texts)}]"


def _in_quotes(text: str) -> str:
    escaped = re.sub(r"(\\*)'", r"\1\1\\'", text)  # backslashes count only before a quote
    escaped = re.sub(r"(\\+)\Z", r"\1\1", escaped)
    return f"'{escaped}'"


def check_words(words: list[str]) -> None:
    """Refuses words that are neither settings nor Hydra's options."""
    parser = get_args_parser()

    def refuse(message: str) -> NoReturn:
        raise UserError(f"{message}; settings are written key=value")

    parser.error = refuse  # type: ignore[method-assign]
    options = parser.parse_args(words)
    if options.experimental_rerun is not None:
        raise UserError("--experimental-rerun reads a pickle, which could run code; give settings")
    for folder in filter(None, (options.config_dir, options.config_path)):
        check_configs(Path(folder))
    for word in options.overrides:
        if not OVERRIDE.match(word) and not DELETION.match(word):
            refuse(f"{word!r} is no setting")
