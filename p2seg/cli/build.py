"""Creates the objects that a config describes."""

from __future__ import annotations

from functools import partial
from typing import Any, cast

from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf

from p2seg.cli.checks import check_node
from p2seg.data.network_input import NetworkInput
from p2seg.runtime.rank_env import is_one_of_many
from p2seg.runtime.ranks import Ranks


def build(node: DictConfig, *arguments: Any) -> Any:
    """Creates the object that a config node with a `_target_` describes.

    Args:
        node: the node.
        arguments: positional arguments of the `_target_`.

    Raises:
        UserError: a setting is unknown, or its value is invalid.
    """
    check_node(node)
    # Hydra's own `instantiate` would read a path with `${` in it as a reference
    return _built(cast("dict[str, Any]", OmegaConf.to_container(node, resolve=True)), *arguments)


def network_input(cfg: DictConfig) -> NetworkInput:
    """The size and shape in which the network receives images."""
    return NetworkInput(cfg.data.short_side, cfg.data.long_side, cfg.data.stretch)


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


def plain(node: Any) -> dict[str, Any]:
    """A config node as plain dicts and lists, interpolations resolved."""
    return cast("dict[str, Any]", OmegaConf.to_container(node, resolve=True))


def ranks_of(cfg: DictConfig) -> Ranks:
    """The processes of this run, connected by Fabric if there are several."""
    # Fabric takes seconds to start and supports fewer devices
    if cfg.trainer.devices == 1 and not is_one_of_many():
        return Ranks()
    build(cfg.trainer).fabric()
    return Ranks.started()
