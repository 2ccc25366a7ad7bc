"""Applies the settings of a trained network to a command, and prints the method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from hydra import compose
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf, open_dict

from p2seg.cli.checks import check_node, check_settings
from p2seg.engine.checkpoint import load_checkpoint
from p2seg.errors import UserError, shown
from p2seg.method.trained_settings import (
    FIXED,
    INPUT,
    Trained,
    departures,
    is_free,
    is_in,
    is_kept,
    leaves,
    written,
)
from p2seg.runtime.progress import console

METHODS = {
    "p2seg.method.p2seg.P2Seg": ("P2Seg", "paper"),
    "p2seg.method.bestie.Bestie": ("BESTIE", "bestie"),
}
"""By `method._target_`: the name of the method, and the `mdm=...` of its paper."""

CHOSEN_BY = {"mdm": ("mdm", "loss"), "model": ("model",), "data": INPUT}
"""The settings that an override such as `mdm=paper` sets."""

COMPARED = ("mdm", "loss", "model.detail", "export")
"""Settings to compare with the paper; backbone, width and schedule depend on the experiment."""
SCHEDULE = "mdm.start_step"

MOST = 3
"""Maximum number of differing settings in a message; the rest are counted."""


@dataclass(frozen=True)
class Override:
    """One override on the command line.

    Attributes:
        text: the override in Hydra's syntax.
        key: dotted name of a setting, or a group such as `mdm`.
        settings: settings, and groups of settings, that the override sets.
        group: whether the override chooses a file of settings, such as `mdm=paper`.
    """

    text: str
    key: str
    settings: tuple[str, ...]
    group: bool

    def sets(self, key: str) -> bool:
        """Whether the override sets a setting."""
        repeated = self.group and key.startswith("model.network.")
        return is_in(key, self.settings) and not repeated


def follow(cfg: DictConfig, snapshot: Path | None = None) -> None:
    """Sets method, network and export to those of a training, in place.

    Overrides on the command line can set free settings (`p2seg.method.trained_settings.FREE`).

    Args:
        cfg: configuration of the command.
        snapshot: path of a checkpoint that overrides may contradict; None: that of `ckpt`, which
            they must not contradict.

    Raises:
        UserError: a setting contradicts the checkpoint, or the checkpoint has an invalid value.
    """
    path = snapshot or Path(cfg.ckpt).expanduser()
    content = load_checkpoint(path, "network")
    if "config" not in content:
        return  # the command reports what the checkpoint lacks
    trained, overrides, given = Trained.of(path, content), _overrides(), _settings(cfg)
    method = _method_of(trained, cfg)
    if snapshot is None:
        _refuse_contradictions(trained, method, cfg, overrides)
    if method != cfg.method._target_:
        _change_method(cfg, METHODS[method][1], overrides)
    chosen = {
        key: value
        for key, value in given.items()
        if is_free(key) and any(override.sets(key) and not override.group for override in overrides)
    }
    _take(cfg, trained, chosen)
    if snapshot is None:
        _tell(trained, cfg)
    try:
        check_settings(cfg)
        check_node(cfg.method)
        check_node(cfg.seeder)
    except UserError as error:
        raise UserError(f"with the settings of {path}: {error}") from error


def method_summary(cfg: DictConfig, *, network: bool) -> str:
    """One line of text: the method, and each setting that differs from its paper.

    Args:
        cfg: configuration of the command.
        network: whether a network is trained or used.
    """
    if not network:
        return "method: no network; masks come from the clicks and the initial maps alone"
    target = str(cfg.method._target_)
    if target not in METHODS:
        return f"method: {target.rpartition('.')[2]}"
    name, group = METHODS[target]
    own, reference = _settings(cfg), _settings(_composed(f"mdm={group}"))
    compared = {
        key: value
        for key, value in own.items()
        if is_in(key, COMPARED) and is_kept(key) and key != SCHEDULE and not _refers(cfg, key)
    }
    other = departures(compared, reference)
    if not other:
        return f"method: {name}, the paper's settings"
    return f"method: {name}; departs from mdm={group} in {', '.join(other)}"


def uses_network(cfg: DictConfig, command: str) -> bool:
    """Whether a command trains or uses a network."""
    if command == "pipeline":
        return bool(cfg.pipeline.network)
    return command == "train" or cfg.ckpt not in (None, "none")


def _overrides() -> list[Override]:
    """The overrides on the command line of this run."""
    texts = list(HydraConfig.get().overrides.task)
    overrides = []
    for text, each in zip(texts, OverridesParser.create().parse_overrides(texts), strict=True):
        key, value = str(each.key_or_group), each.value()
        if isinstance(value, dict):
            overrides.append(
                Override(text, key, tuple(f"{key}.{name}" for name in leaves(value)), False)
            )
        else:
            overrides.append(Override(text, key, CHOSEN_BY.get(key, (key,)), key in CHOSEN_BY))
    return overrides


def _settings(cfg: DictConfig) -> dict[str, Any]:
    """Values of the settings that a checkpoint can contain, by dotted name."""
    nodes = {key: OmegaConf.to_container(cfg[key], resolve=True) for key in (*FIXED, "export")}
    return leaves(nodes) | {key: OmegaConf.select(cfg, key) for key in INPUT}


@cache
def _composed(override: str) -> DictConfig:
    """The base config with one override; an empty override gives the defaults."""
    return compose("base", [override] if override else [])


def _method_of(trained: Trained, cfg: DictConfig) -> str:
    """The `_target_` of a checkpoint's method, from the methods known to p2seg."""
    own = str(cfg.method._target_)
    if trained.method is None:  # old checkpoints without a method: the network identifies it
        networks = {own: cfg.model.network._target_}
        for each, (_, group) in METHODS.items():
            networks[each] = _composed(f"mdm={group}").model.network._target_
        fitting = [each for each in (own, *METHODS) if networks[each] == trained.network]
        method = fitting[0] if fitting else trained.network or own
    else:
        method = trained.method
    if method not in (own, *METHODS):
        raise UserError(
            f"{trained.path} was trained with the method {shown(method)}, which this version does "
            "not know; add the mdm=NAME of its training"
        )
    return method


def _refuse_contradictions(
    trained: Trained, method: str, cfg: DictConfig, overrides: Sequence[Override]
) -> None:
    own, given, path = str(cfg.method._target_), _settings(cfg), trained.path
    if method != own:
        named = next((each for each in overrides if each.key == "mdm" and each.group), None)
        if named is None and own != _composed("").method._target_:
            named = next((override for override in overrides if override.key == "exp"), None)
        if named is not None:
            raise UserError(
                f"{named.text} is of the method {_name(own)}, but {path} was trained with "
                f"{_name(method)}; remove {named.text}, or train again with it"
            )
    fixed = [key for key in trained.differing(given) if not is_free(key)]
    for override in sorted(overrides, key=lambda each: each.group):  # single settings first
        other = [key for key in fixed if override.sets(key)]
        if other and override.group:
            was = [f"{key}={written(trained.values[key])}" for key in other]
            now = [f"{key}={written(given[key])}" for key in other[:MOST]]
            more = f" and {len(other) - MOST} more" if len(other) > MOST else ""
            raise UserError(
                f"{override.text} gives {', '.join(now)}{more}, but {path} was trained with "
                f"{', '.join(was[:MOST])}{more}; remove {override.text}, or train again with it"
            )
        if other:
            key = other[0]
            free = f"export.{key.rpartition('.')[2]}"
            instead = f", or set {free}" if key.startswith("mdm.") and free in given else ""
            raise UserError(
                f"{key}={written(given[key])} contradicts {path}, which was trained with "
                f"{key}={written(trained.values[key])}; remove {key}, or train again with it"
                f"{instead}"
            )
        alien = [key for key in given if override.sets(key) and key not in trained.values]
        if method != own and not override.group and any(is_in(key, FIXED) for key in alien):
            raise UserError(
                f"{alien[0]}={written(given[alien[0]])} is of the method {_name(own)}, but {path} "
                f"was trained with {_name(method)}; remove {alien[0]}, or train again with it"
            )


def _change_method(cfg: DictConfig, group: str, overrides: Sequence[Override]) -> None:
    """Replaces the settings of one method by those of another, like `mdm=...`.

    Settings of an experiment for the first method are dropped.
    """
    kept = [override.text for override in overrides if override.key.split(".")[0] not in FIXED]
    again = compose(HydraConfig.get().job.config_name, [*kept, f"mdm={group}"])
    pure = _composed(f"mdm={group}")
    with open_dict(cfg):
        for key in (*FIXED, "export"):
            cfg[key] = (again if key in ("model", "export") else pure)[key]


def _take(cfg: DictConfig, trained: Trained, chosen: dict[str, Any]) -> None:
    """Sets the settings that differed in training; settings that refer to others come last."""
    for references in (False, True):  # most change together with the setting that they refer to
        for key in trained.differing(_settings(cfg)):
            if key not in chosen and (references or not _refers(cfg, key)):
                OmegaConf.update(cfg, key, trained.value(key))
    for key, value in chosen.items():
        OmegaConf.update(cfg, key, value, force_add=True)


def _refers(cfg: DictConfig, key: str) -> bool:
    """Whether a setting, or a group that contains it, refers to another setting."""
    node: Any = cfg
    for name in key.split("."):
        if OmegaConf.is_interpolation(node, name):
            return True
        node = node._get_node(name)
    return False


def _tell(trained: Trained, cfg: DictConfig) -> None:
    """Prints the settings that a checkpoint of another version lacks or has in addition."""
    own = _settings(cfg)
    missing, unknown = trained.missing(own), trained.unknown(own)
    if missing:
        reason = f"it lacks {_listed(missing)}; the values of the command's config are used"
        console.print(f"{trained.path} is of an older version: {reason}", markup=False)
    if unknown:
        reason = f"its settings {_listed(unknown)} do not exist in this version and are ignored"
        console.print(f"{trained.path} is of another version: {reason}", markup=False)


def _listed(keys: Sequence[str]) -> str:
    more = f" and {len(keys) - 8} more" if len(keys) > 8 else ""
    return ", ".join(keys[:8]) + more


def _name(method: str) -> str:
    return METHODS[method][0] if method in METHODS else method.rpartition(".")[2]
