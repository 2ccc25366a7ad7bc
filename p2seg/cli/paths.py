"""Paths of settings, and the folder of the configs."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig, OmegaConf

import p2seg
from p2seg.errors import UserError

_PACKAGE = Path(p2seg.__file__).resolve().parent
CONFIGS = next(
    folder for folder in (_PACKAGE / "configs", _PACKAGE.parent / "configs") if folder.is_dir()
)
"""The folder of the configs: inside an installed package, next to the package in a checkout."""


def path_of(cfg: DictConfig, key: str) -> Path:
    """The path that is the value of a setting, with `~` expanded."""
    value = OmegaConf.select(cfg, key)
    if value is None or value == "":
        raise UserError(f"{key} is not set; add {key}=PATH to the command")
    return Path(value).expanduser()


def output_folder(cfg: DictConfig, place: str) -> Path:
    """`out` if it is set, else `outputs/<name>/<place>`."""
    return Path(cfg.out).expanduser() if cfg.out else Path("outputs") / str(cfg.name) / place


def maps_folder(cfg: DictConfig) -> Path:
    """The folder of the maps: `out` if it is set, else `data.semantic`."""
    return path_of(cfg, "data.semantic" if cfg.out is None else "out")


def given_file(cfg: DictConfig) -> Path | None:
    """The path of the file `out`, if it is set."""
    return Path(cfg.out).expanduser() if cfg.out else None


def check_file(path: Path) -> Path:
    """A path for a new file; checked before the work starts.

    Raises:
        UserError: the path is a folder.
    """
    if path.is_dir():
        raise UserError(f"out={path} is a folder, but a file is needed; set out=FILE")
    return path
