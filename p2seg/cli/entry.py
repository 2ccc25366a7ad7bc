"""Turns functions into commands, with settings of Hydra and messages of one sentence.

Only `p2seg.cli` uses Hydra; `p2seg.cli.build` creates the objects of the rest of the package.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from contextlib import nullcontext, redirect_stderr
from pathlib import Path
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig

from p2seg.cli.checks import check_settings
from p2seg.cli.help import help_of
from p2seg.cli.mistakes import sentence_of
from p2seg.cli.overrides import check_arguments, quoted, read_options
from p2seg.cli.paths import CONFIGS
from p2seg.cli.program import launch_prefix, start_again
from p2seg.cli.sweep import Sweep
from p2seg.runtime.lifetime import end_with_parent
from p2seg.runtime.preemption import Stopped, stopping
from p2seg.runtime.progress import console
from p2seg.runtime.rank_messages import (
    PEER_LOST,
    anything_was_said,
    is_new,
    is_of_a_lost_peer,
    is_started_by_another,
)
from p2seg.runtime.terminal import Terminal, drop_lost_outputs

WITH_NETWORK = frozenset(
    ("annotate", "gallery", "gen_pseudo", "gen_semantic", "pipeline", "visualize")
)
"""Commands whose `ckpt` is a trained network."""
NAMING_METHOD = frozenset(("train", "gen_pseudo", "pipeline"))
"""Commands that first print a line about the method."""


def entry(
    config: str, *, switches: tuple[str, ...] = ()
) -> Callable[[Callable[[DictConfig], Any]], Callable[..., int]]:
    """Turns a function of a config into a command.

    Args:
        config: name of the YAML file in `configs/`.
        switches: settings that can also be written as options: `--check` is `check=true`.

    Returns:
        A decorator. The decorated function takes the arguments of the command line (default: those
        of the process) and returns the exit code. 0: success. 2: a user's mistake, which was
        printed. 75: stopped by a signal; the same command resumes. 130: stopped by Ctrl-C.
    """

    def decorate(function: Callable[[DictConfig], Any]) -> Callable[..., int]:
        def run(arguments: list[str] | None = None) -> int:
            end_with_parent()
            arguments = sys.argv[1:] if arguments is None else arguments
            program = launch_prefix(config, arguments)
            options = {f"--{name}": f"{name}=true" for name in switches}
            arguments = [options.get(word, word) for word in arguments]
            if {"--help", "-h"} & {*arguments}:
                Terminal(soft_wrap=True, highlight=False, markup=False, emoji=False).print(
                    help_of(config)
                )
                return 0
            arguments = ["--help" if word == "--help-all" else word for word in arguments]
            try:
                check_arguments(arguments)
                with stopping():
                    _run_hydra(config, function, arguments, program)
            except KeyboardInterrupt:
                _say("stopped by Ctrl-C; all written files are complete")
                return 130
            except Stopped as stopped:
                _say(f"{stopped}; all written files are complete, and the same command resumes")
                return 0 if is_started_by_another() else stopped.code
            except Exception as error:
                return _end(error, config)
            finally:
                drop_lost_outputs()
            return 0

        return run

    return decorate


def _end(error: Exception, config: str) -> int:
    """Prints why a command failed, once for all processes of a run, and returns the exit code.

    Raises:
        Exception: a bug in p2seg, with its traceback.
    """
    if is_of_a_lost_peer(error):
        if not anything_was_said():
            _say(f"{PEER_LOST} ({' '.join(str(error).split())[:200]})")
        return 1
    sentence = sentence_of(error, CONFIGS, config)
    if sentence is not None:
        _say(sentence)
        return 2
    if is_new(repr(error)):
        raise error
    return 1


def _run_hydra(
    config: str, function: Callable[[DictConfig], Any], arguments: list[str], program: list[str]
) -> None:
    """Composes the config and calls the function; raises its exception unchanged."""
    failures: list[BaseException] = []
    argv, full_error = sys.argv, os.environ.get("HYDRA_FULL_ERROR")

    def job(cfg: DictConfig) -> None:
        sys.argv = [*program, *arguments]  # Fabric starts other processes with them
        try:
            from p2seg.runtime.determinism import seed_everything  # imports torch

            check_settings(cfg)
            seed_everything(cfg.seed, deterministic=cfg.deterministic)
            _settle(cfg, config)
            function(cfg)
        except BaseException as error:  # Hydra would print it and exit
            failures.append(error)

    task = _sweep_of(config, arguments, program) or job
    sys.argv = [config, *map(quoted, arguments)]
    os.environ["HYDRA_FULL_ERROR"] = "1"  # else Hydra exits with code 1
    GlobalHydra.instance().clear()
    try:
        # Hydra prints all settings of a failed job, which has already printed the reason
        with redirect_stderr(io.StringIO()) if task is not job else nullcontext():
            hydra.main(config_path=str(CONFIGS), config_name=config, version_base="1.3")(task)()
        if failures:
            raise failures[0]
    finally:
        sys.argv = argv
        if full_error is None:
            del os.environ["HYDRA_FULL_ERROR"]
        else:
            os.environ["HYDRA_FULL_ERROR"] = full_error


def _settle(cfg: DictConfig, command: str) -> None:
    """Applies the settings of the checkpoint, and prints the method."""
    # a path that is not a file is rejected by the command, if the command reads it
    has_network = command in WITH_NETWORK and cfg.ckpt not in (None, "none") and _is_file(cfg.ckpt)
    if not has_network and command not in NAMING_METHOD:
        return
    from p2seg.cli.trained import follow, method_summary, uses_network  # imports torch's networks

    if has_network:
        follow(cfg)
    if command in NAMING_METHOD:
        console.print(method_summary(cfg, network=uses_network(cfg, command)), markup=False)


def _sweep_of(config: str, arguments: list[str], program: list[str]) -> Sweep | None:
    """The task of a command with `-m`, which runs each job in a process; None without `-m`."""
    options = read_options(arguments)
    if not options.multirun:
        return None
    own = [word for word in options.overrides if not word.startswith(("hydra/", "hydra."))]
    parsed = zip(own, OverridesParser.create().parse_overrides([*map(quoted, own)]), strict=True)
    swept = [word.partition("=")[0] for word, each in parsed if each.is_sweep_override()]
    return Sweep(start_again(config, program), own, swept)


def _is_file(text: str) -> bool:
    try:
        return Path(text).expanduser().is_file()
    except RuntimeError:  # `~name` of an unknown user
        return False


def _say(sentence: str) -> None:
    if not is_new(sentence):
        return
    console = Terminal(stderr=True, soft_wrap=True, highlight=False, markup=False, emoji=False)
    console.print(" ".join(line.strip() for line in sentence.splitlines()))
