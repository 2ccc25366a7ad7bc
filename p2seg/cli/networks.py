"""Creates the network that the settings describe, and loads its weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import torch
from omegaconf import DictConfig

from p2seg.cli.build import build
from p2seg.data.points import PointSet
from p2seg.errors import UserError

if TYPE_CHECKING:
    from p2seg.models.network import Trunk


def network_of(cfg: DictConfig) -> Trunk:
    """The network of the config."""
    return cast("Trunk", build(cfg.model.network))


def load_network(cfg: DictConfig, checkpoint: dict[str, Any], points: PointSet) -> Trunk:
    """The network of the config with the weights of a checkpoint.

    Raises:
        UserError: the checkpoint has another architecture or other classes.
    """
    theirs = [c["name"] for c in checkpoint["categories"]]
    ours = [c.name for c in points.categories]
    if theirs != ours:
        raise UserError(
            f"{cfg.ckpt} was trained on {len(theirs)} classes ({', '.join(theirs[:5])}...), but "
            f"{cfg.data.points} has {len(ours)} ({', '.join(ours[:5])}...); use a checkpoint of "
            "these classes"
        )
    cfg.model.pretrained, cfg.model.weights = False, None  # the checkpoint has all weights
    averaged = cfg.export.ema and checkpoint["average"] is not None
    weights = checkpoint["average"] if averaged else checkpoint["model"]
    try:
        with torch.device("meta"):  # allocates nothing: settings of a checkpoint may be huge
            planned = network_of(cfg)
        fits, reason = _shapes(planned.state_dict()) == _shapes(weights), "other names or shapes"
    except Exception as error:  # invalid settings raise errors of any kind in torch and timm
        fits, reason = False, " ".join(str(error).split())[:200]
    if not fits:
        raise UserError(
            f"{cfg.ckpt} does not hold the weights of the network that its settings describe "
            f"({reason}); use the unchanged file of p2seg train, or train again"
        )
    network = network_of(cfg)
    network.load_state_dict(weights)
    return network.eval()


def _shapes(state: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in state.items()}
