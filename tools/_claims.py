"""What a tool writes is claimed while it runs: see `p2seg.runs.claims`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from functools import wraps
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from p2seg.runs.claims import claim

Run = Callable[[DictConfig], Any]
OutOf = Callable[[DictConfig], Path | None]


def writes(out_of: OutOf, *, folder: bool = False) -> Callable[[Run], Run]:
    """Makes a tool's `run` claim what it writes.

    Args:
        out_of: the output, by the config; None where there is none.
        folder: it is a folder.
    """

    def decorate(run: Run) -> Run:
        @wraps(run)
        def claimed(cfg: DictConfig) -> Any:
            out = out_of(cfg)
            with claim(out, folder=folder) if out is not None else nullcontext():
                return run(cfg)

        return claimed

    return decorate


def given_file(cfg: DictConfig) -> Path | None:
    """The file `out`, where it is given."""
    return Path(cfg.out).expanduser() if cfg.out else None
