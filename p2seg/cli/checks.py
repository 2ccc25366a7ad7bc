"""Checks settings before work starts: against their table, and against type hints."""

from __future__ import annotations

import dataclasses
import inspect
import math
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from hydra.utils import get_object
from omegaconf import DictConfig, ListConfig, OmegaConf

from p2seg.errors import UserError, alternatives
from p2seg.runtime.settings.table import SETTINGS

Values = Mapping[str, tuple[str, Any]]
"""By parameter: the dotted name of the setting, and its value."""


def check_settings(cfg: DictConfig) -> None:
    """Compares the settings of a command with the allowed values of the table.

    Raises:
        UserError: a value is not allowed.
    """
    absent = object()
    for key, row in SETTINGS.items():
        if row.values is not None:
            value = OmegaConf.select(cfg, key, default=absent, throw_on_missing=False)
            if value is not absent:
                row.values.check(key, value)


def check_values(function: Callable[..., Any], values: Values) -> None:
    """Compares settings with the types of a function's parameters.

    Args:
        function: function or class. Types other than numbers, booleans, strings, literals, paths
            and lists of these are not checked.
        values: values of some parameters.

    Raises:
        UserError: a value does not fit its parameter, or the parameter does not exist.
    """
    parameters = inspect.signature(function).parameters
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    hints = _hints(function)
    for parameter, (name, value) in values.items():
        if parameter not in parameters and not open_ended:
            raise UserError(
                f"there is no setting {name}: {function.__name__} has no parameter {parameter}"
            )
        hint = hints.get(parameter, Any)
        if not _fits(value, hint):
            shown = value if isinstance(value, (str, ListConfig)) else repr(value)
            raise UserError(f"{name}={shown}: must be {_described(hint)}")


def check_node(node: DictConfig) -> None:
    """Compares a config node with the type hints of its `_target_`.

    Raises:
        UserError: a setting is unknown, or its value is invalid.
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
        raise UserError(
            f"{name}={node['_target_']} is not an importable class or function"
        ) from error
    check_values(target, values)


def _name(node: DictConfig, key: str) -> str:
    """The setting to change: `mdm.decode` if `method.mdm.decode` is `${mdm.decode}`."""
    raw = str(node._get_node(key)._value())  # type: ignore[union-attr]
    if raw.startswith("${") and raw.endswith("}") and raw.count("$") == 1 and raw[2] != ".":
        return raw[2:-1]
    return str(node._get_full_key(key))


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    annotated = function.__init__ if isinstance(function, type) else function  # type: ignore[misc]
    try:
        return typing.get_type_hints(annotated)
    except (NameError, TypeError):  # a library without importable type hints
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
        return False  # `build` creates these from a node with a _target_
    if origin in (tuple, list, Sequence):
        if not isinstance(value, (ListConfig, list)):
            return False
        each = arguments[:1] * len(value) if len(arguments) != 2 or ... in arguments else arguments
        return len(value) == len(each) and all(map(_fits, value, each))
    return True


def _described(hint: Any) -> str:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType, Literal):
        return alternatives([str(x) if origin is Literal else _described(x) for x in arguments])
    if origin in (tuple, list, Sequence):
        count = f"{len(arguments)} " if len(arguments) == 2 and ... not in arguments else ""
        return f"a list of {count}{_described(arguments[0]).split(' ')[-1]}s in square brackets"
    if dataclasses.is_dataclass(hint):
        return "a group of settings; set one of them, as in group.setting=value"
    names = {bool: "true or false", int: "an integer", float: "a number", str: "a string"}
    return {**names, Path: "a path", types.NoneType: "null"}.get(hint, "of another type")
