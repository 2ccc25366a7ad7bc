"""Builds what the config describes, after a look at whether its values can be what they are."""

from __future__ import annotations

import dataclasses
import inspect
import math
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, cast

from hydra.utils import get_object
from omegaconf import DictConfig, ListConfig, OmegaConf

from p2seg.data.network_input import NetworkInput
from p2seg.errors import UserError
from p2seg.runtime.rank_env import is_one_of_many
from p2seg.runtime.ranks import Ranks

Values = Mapping[str, tuple[str, Any]]
"""Of each parameter: the setting's name on the command line, and its value."""


def build(node: DictConfig, *arguments: Any) -> Any:
    """What a config node with a `_target_` describes.

    Args:
        node: the node.
        arguments: handed on before the node's own.

    Raises:
        UserError: a setting that the target does not have, or a value that it cannot have.
    """
    check_node(node)
    # Hydra's own `instantiate` would read a path with `${` in it as a reference
    return _built(cast("dict[str, Any]", OmegaConf.to_container(node, resolve=True)), *arguments)


def network_input(cfg: DictConfig) -> NetworkInput:
    """How the network sees images, in training and everywhere else."""
    return NetworkInput(cfg.data.short_side, cfg.data.long_side, cfg.data.stretch)


def check_values(function: Callable[..., Any], values: Values) -> None:
    """Compares settings with the types of a function's parameters.

    Args:
        function: or class; parameters of other types than numbers, truth values, texts, choices,
            paths and lists of these are not looked at.
        values: of some of its parameters.

    Raises:
        UserError: a value that its parameter cannot have, or one without a parameter.
    """
    parameters = inspect.signature(function).parameters
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    hints = _hints(function)
    for parameter, (name, value) in values.items():
        if parameter not in parameters and not open_ended:
            raise UserError(f"there is no setting {name}: {function.__name__} takes no {parameter}")
        hint = hints.get(parameter, Any)
        if not _fits(value, hint):
            shown = value if isinstance(value, (str, ListConfig)) else repr(value)
            raise UserError(f"{name}={shown}: must be {_described(hint)}")


def _built(values: dict[str, Any], *arguments: Any) -> Any:
    options = {
        key: _built(value) if isinstance(value, dict) and "_target_" in value else value
        for key, value in values.items()
        if not key.startswith("_")
    }
    function = get_object(values["_target_"])
    if values.get("_partial_"):
        return partial(function, *arguments, **options)
    return function(*arguments, **options)


def check_node(node: DictConfig) -> None:
    """Looks at a config node with a `_target_` as `build` does, and builds nothing.

    Raises:
        UserError: see `build`.
    """
    values: dict[str, tuple[str, Any]] = {}
    for key in node:
        if str(key).startswith("_"):
            continue
        value = node[key]
        if isinstance(value, DictConfig):
            if "_target_" in value:
                check_node(value)
            continue
        values[str(key)] = (_name(node, str(key)), value)
    try:
        target = get_object(node["_target_"])
    except (ImportError, ValueError, AttributeError) as error:
        name = _name(node, "_target_")
        raise UserError(f"{name}={node['_target_']} names nothing that can be built") from error
    check_values(target, values)


def _name(node: DictConfig, key: str) -> str:
    """What the command line calls a value: `mdm.decode` where `method.mdm.decode` refers to it."""
    raw = str(node._get_node(key)._value())  # type: ignore[union-attr]
    if raw.startswith("${") and raw.endswith("}") and raw.count("$") == 1 and raw[2] != ".":
        return raw[2:-1]
    return str(node._get_full_key(key))


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    made = function.__init__ if isinstance(function, type) else function  # type: ignore[misc]
    try:
        return typing.get_type_hints(made)
    except (NameError, TypeError):  # of a library that does not keep its types
        return {}


def _fits(value: Any, hint: Any) -> bool:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, each) for each in arguments)
    if origin is Literal:
        return value in arguments
    if hint in (bool, int):
        return type(value) is hint
    if hint is float:
        return type(value) in (int, float) and math.isfinite(value)
    if hint in (str, Path):
        return isinstance(value, str)
    if hint is types.NoneType:
        return value is None
    if dataclasses.is_dataclass(hint):
        return False  # an object of the config is built before, from a node with a _target_
    if origin in (tuple, list, Sequence):
        if not isinstance(value, (ListConfig, list)):
            return False
        each = arguments[:1] * len(value) if len(arguments) != 2 or ... in arguments else arguments
        return len(value) == len(each) and all(map(_fits, value, each))
    return True


def _described(hint: Any) -> str:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType, Literal):
        known = [_described(each) if origin is not Literal else str(each) for each in arguments]
        return " or ".join([", ".join(known[:-1]), known[-1]] if len(known) > 1 else known)
    if origin in (tuple, list, Sequence):
        count = f"{len(arguments)} " if len(arguments) == 2 and ... not in arguments else ""
        return f"a list of {count}{_described(arguments[0]).split(' ')[-1]}s in square brackets"
    if dataclasses.is_dataclass(hint):
        return "a group of settings; set one of them, as in group.setting=value"
    words = {bool: "true or false", int: "an integer", float: "a number", str: "a string"}
    return {**words, Path: "a path", types.NoneType: "null"}.get(hint, "of another type")


def plain(node: Any) -> dict[str, Any]:
    """A config node as plain dicts and lists, interpolations resolved."""
    return cast("dict[str, Any]", OmegaConf.to_container(node, resolve=True))


def ranks_of(cfg: DictConfig) -> Ranks:
    """The processes of this run, connected where there are several.

    Only then Fabric is started, which takes its time and knows fewer devices.
    """
    if cfg.trainer.devices == 1 and not is_one_of_many():
        return Ranks()
    build(cfg.trainer).fabric()
    return Ranks.started()
