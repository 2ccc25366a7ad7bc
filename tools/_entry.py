"""What every tool shares: Hydra's command line with plain paths, and one sentence for a mistake.

The rest of the package knows nothing of Hydra; `_target_` builds its objects here.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console

from p2seg.errors import UserError

CONFIGS = Path(__file__).resolve().parent.parent / "configs"
OVERRIDE = re.compile(r"^(\+{0,2}[\w@./-]+)=(.*)$", re.DOTALL)
# Values of these keys are paths, taken to the letter; other values follow Hydra's grammar and are
# taken to the letter only where that fails.
PATH_KEYS = frozenset(
    (
        *("out", "gt", "pred", "pseudo", "images", "ckpt", "model.weights", "segmentor.weights"),
        *("data.root", "data.images", "data.points", "data.semantic", "data.gt"),
        *("data.val_images", "data.val_gt", "semantic.gt", "semantic.maps"),
    )
)


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
        try:
            OverridesParser.create().parse_override(override)
        except HydraException:
            pass
        else:
            return override
    if is_path:
        value = value.replace("${", r"\${")
    escaped = re.sub(r"(\\*)'", r"\1\1\\'", value)  # backslashes count only before a quote
    escaped = re.sub(r"(\\+)$", r"\1\1", escaped)
    return f"{key}='{escaped}'"


def entry(config: str) -> Callable[[Callable[[DictConfig], Any]], Callable[..., int]]:
    """Makes a command of a function of the composed config.

    Args:
        config: name of the yaml in `configs/`.

    Returns:
        A decorator. What it makes takes the command line's words (default: those of the process)
        and returns the exit code: 0, or 2 after a user's mistake told in one sentence.
    """

    def decorate(function: Callable[[DictConfig], Any]) -> Callable[..., int]:
        failures: list[BaseException] = []

        def job(cfg: DictConfig) -> None:
            try:
                function(cfg)
            except BaseException as error:  # kept from Hydra, which prints and goes on its own way
                failures.append(error)

        command = hydra.main(config_path=str(CONFIGS), config_name=config, version_base="1.3")(job)

        def run(words: list[str] | None = None) -> int:
            failures.clear()
            words = sys.argv[1:] if words is None else words
            argv, full_error = sys.argv, os.environ.get("HYDRA_FULL_ERROR")
            sys.argv = [config, *map(quoted, words)]
            os.environ["HYDRA_FULL_ERROR"] = "1"  # or Hydra ends the process itself, with code 1
            GlobalHydra.instance().clear()
            try:
                command()
                if failures:
                    raise failures[0]
            except KeyboardInterrupt:
                _say("stopped by the keyboard; what was written is whole")
                return 130
            except Exception as error:
                sentence = sentence_of(error)
                if sentence is None:
                    raise
                _say(sentence)
                return 2
            finally:
                sys.argv = argv
                if full_error is None:
                    del os.environ["HYDRA_FULL_ERROR"]
                else:
                    os.environ["HYDRA_FULL_ERROR"] = full_error
            return 0

        return run

    return decorate


def sentence_of(error: BaseException | None) -> str | None:
    """The one sentence of a user's mistake, or None when the error is a defect of ours."""
    seen = error
    while seen is not None:
        if isinstance(seen, UserError):
            return str(seen)
        if isinstance(seen, OSError) and seen.strerror:
            where = f" {seen.filename}" if seen.filename else ""
            return f"the system refused{where}: {seen.strerror}"
        seen = seen.__cause__ or seen.__context__
    if isinstance(error, (HydraException, OmegaConfBaseException)):
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        # "full_key: x" and "object_type=dict" are OmegaConf's notes to itself
        lines = [line for line in lines if not re.match(r"(full_key:|object_type=)", line)]
        return "; ".join(lines)
    return None


def _say(sentence: str) -> None:
    Console(stderr=True, soft_wrap=True, highlight=False, markup=False).print(sentence)
