"""Locks the output of a running command, and protects files that the command did not write.

See `p2seg.runtime.claims` and `p2seg.runtime.outputs`.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from p2seg.cli.outputs import inputs_read, output_of
from p2seg.cli.overrides import literal
from p2seg.runtime.claims import claim
from p2seg.runtime.outputs import refuse_inputs, replacing

Run = Callable[[DictConfig], Any]
OutOf = Callable[[DictConfig], Path | None]


def writes(command: str, out_of: OutOf, *, folder: bool = False) -> Callable[[Run], Run]:
    """Makes the `run` of a command lock its output, and reject foreign files.

    Args:
        command: name of the command.
        out_of: a function from the config to the output; returns None if there is none.
        folder: locks the whole folder, not only one file.
    """

    def decorate(run: Run) -> Run:
        @wraps(run)
        def claimed(cfg: DictConfig) -> Any:
            out = out_of(cfg)
            if out is None:
                return run(cfg)
            if out.is_symlink() and not folder and not out.is_dir():
                cfg.out = literal(str(_behind(out)))  # the link stays
                out = out_of(cfg) or out
            output = output_of(cfg, command, out)
            refuse_inputs(output, inputs_read(cfg, command))
            with claim(out, folder=folder), replacing(output, overwrite=cfg.overwrite):
                return run(cfg)

        return claimed

    return decorate


def _behind(link: Path) -> Path:
    """The target of a link.

    Raises:
        OSError: the link is circular.
    """
    try:
        return link.resolve(strict=link.exists())
    except RuntimeError as error:  # before Python 3.13
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(link)) from error
