"""Messages of users' mistakes in one sentence, also for errors of Hydra and OmegaConf."""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import cast

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import (
    ConfigCompositionException,
    HydraException,
    MissingConfigException,
    OverrideParseException,
)
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import (
    InterpolationToMissingValueError,
    MissingMandatoryValue,
    OmegaConfBaseException,
)

from p2seg.errors import UserError, refusal


def sentence_of(error: BaseException, configs: Path, config: str) -> str | None:
    """The message of a user's mistake; None for a bug in p2seg.

    Args:
        error: exception raised by the command.
        configs: folder of the configs.
        config: name of the command's YAML file, for the names of its settings.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, UserError):
            return str(cause)
        if isinstance(cause, OSError) and cause.strerror:
            return refusal(cause)
        full = "can't allocate memory" in str(cause)  # torch raises a RuntimeError on the CPU
        if full or isinstance(cause, MemoryError) or type(cause).__name__ == "OutOfMemoryError":
            return (
                "the memory is full; set a smaller trainer.batch_size, segmentor.batch_size, "
                "predict.batch_size, data.augment.crop or data.workers "
                f"({_in_one_line(str(cause))})"
            )
        cause = cause.__cause__
    if isinstance(error, HydraException):
        return _of_hydra(error, configs, config)
    if isinstance(error, OmegaConfBaseException):
        return _of_omegaconf(error)
    return None


def _of_hydra(error: HydraException, configs: Path, config: str) -> str:
    text = str(error)
    if isinstance(error, OverrideParseException):
        return f"{error.override!r} cannot be read; write key=value"
    if isinstance(error, MissingConfigException):
        group, _, name = str(error.missing_cfg_file).rpartition("/")
        if group == "hydra/launcher" and name.startswith("submitit"):
            return f"{group}={name} needs another package; pip install 'p2seg[slurm]'"
        return f"there is no {group}={name}; choose from {', '.join(_choices(configs, group))}"
    loading = re.search(r"Could not load '([^']*)/([^'/]*)'", text)
    if loading:
        group, name = loading.groups()
        return f"there is no {group}={name}; choose from {', '.join(_choices(configs, group))}"
    unknown = re.match(r"Could not override '([^']*)'", text)
    if unknown and (configs / unknown[1]).is_dir():
        return f"write +{unknown[1]}=NAME, with a plus; NAME is one of " + ", ".join(
            _choices(configs, unknown[1])
        )
    if unknown:
        return _unknown_key(unknown[1], configs, config)
    comma = re.match(r"Ambiguous value for argument '([^=]*)=(.*)'", text)
    if comma:
        key, value = comma.groups()
        return f"{key}={value} has a comma; write {key}=[{value}] if it is a list"
    if isinstance(error, ConfigCompositionException):
        text = text.splitlines()[0]
    return _in_one_line(text)


def _of_omegaconf(error: OmegaConfBaseException) -> str:
    missing = re.search(r"Missing mandatory value: ([\w.]+)", str(error))
    if missing and isinstance(error, (MissingMandatoryValue, InterpolationToMissingValueError)):
        key = missing[1]
        full = str(error.full_key or key)
        key = full if full.split(".")[-1] == key else key
        return f"{key} is not set; add {key}=... to the command"
    # "full_key: x" and "object_type=dict" are debugging hints of OmegaConf
    lines = [
        line
        for line in map(str.strip, str(error).splitlines())
        if line and not re.match(r"(full_key:|object_type=)", line)
    ]
    where = f"{error.full_key}: " if error.full_key else ""
    return where + "; ".join(lines)


def _unknown_key(key: str, configs: Path, config: str) -> str:
    """The message for an unknown setting, with the most similar known setting if there is one."""
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(configs), version_base="1.3"):
        known = list(_keys(compose(config)))
    group, _, name = key.partition(".")
    owners = [
        f"{group}={file.stem}"
        for file in sorted((configs / group).glob("[!_]*.yaml"))
        if name in list(_keys(cast(DictConfig, OmegaConf.load(file))))
    ]
    if owners:
        return f"{key} is a setting of {' or '.join(owners)}; add {owners[0]} to the command"
    last = key.rpartition(".")[2]
    near = get_close_matches(key, known, 1, 0.75)
    near = near or [each for each in known if each.rpartition(".")[2] == last][:1]
    if near:
        return f"there is no setting {key}; did you mean {near[0]}?"
    return f"there is no setting {key}; configs/{config}.yaml and configs/base.yaml lead to all"


def _keys(node: DictConfig, prefix: str = "") -> Iterator[str]:
    for key in map(str, node):
        name = f"{prefix}{key}"
        yield name
        child = node._get_node(key)
        if isinstance(child, DictConfig) and not child._is_interpolation():
            yield from _keys(child, f"{name}.")


def _choices(configs: Path, group: str) -> list[str]:
    files = (configs / group).glob("*.yaml")
    return sorted(file.stem for file in files if not file.stem.startswith("_"))


def _in_one_line(text: str) -> str:
    return " ".join(text.split())
