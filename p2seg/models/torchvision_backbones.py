"""torchvision's classification networks as backbones: the last map of every stride they have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torchvision.models
from torch import Tensor, nn
from torchvision.models import get_model, list_models
from torchvision.models.feature_extraction import create_feature_extractor, get_graph_node_names

from p2seg.errors import UserError

PREFIX = "torchvision."
"""How the name of such a backbone begins, as in `torchvision.resnet50`."""

PROBE = 64
"""Side in pixels of the image that strides are read from."""

STRIDES = (4, 8, 16, 32)


def torchvision_features(
    name: str, group: str, *, pretrained: bool
) -> tuple[nn.Module, list[int], list[int]]:
    """A torchvision network as feature maps at strides 4 to 32.

    Args:
        name: behind the prefix, such as `resnet50`.
        group: the config group that errors name.
        pretrained: torchvision's own ImageNet weights, fetched where they are not in its cache.

    Returns:
        The network up to its last map, which gives a dict of maps, finest first, and whose tensors
        keep their names; and channels and strides of the maps.

    Raises:
        UserError: an unknown name, a network without such maps, or weights that cannot be had.
    """
    # those of other tasks fetch the weights of their backbones, whatever `weights` says
    if name.lower() not in list_models(torchvision.models):
        raise UserError(
            f"{group}.backbone={PREFIX}{name} is unknown to torchvision, or is no network of "
            f"classification; give one such as {PREFIX}resnet50"
        )
    try:
        network = get_model(name, weights="DEFAULT" if pretrained else None)
    except OSError as error:
        raise UserError(
            f"no ImageNet weights of {PREFIX}{name} in torchvision's cache and none could be "
            f"fetched ({type(error).__name__}); give a file with {group}.weights=PATH, or start "
            f"from random weights with {group}.pretrained=false"
        ) from error
    shapes = _shapes(network, f"{group}.backbone={PREFIX}{name}")
    nodes = [_last_before(shapes, stride) for stride in STRIDES]
    if None in nodes:
        raise UserError(
            f"{group}.backbone={PREFIX}{name} has no feature map of each stride from "
            f"{STRIDES[0]} to {STRIDES[-1]}; take one that has, such as {PREFIX}resnet50"
        )
    chosen = [str(node) for node in nodes]
    channels = [shapes[node][0] for node in chosen]
    graph = create_feature_extractor(
        network, {node: str(k) for k, node in enumerate(chosen)}, suppress_diff_warning=True
    )
    return graph, channels, list(STRIDES)


def _shapes(network: nn.Module, what: str) -> dict[str, tuple[int, int]]:
    """Channels and stride of every node of the graph that is a map, in their order."""
    try:
        nodes = get_graph_node_names(network, suppress_diff_warning=True)[1][1:]
        extractor = create_feature_extractor(network.eval(), nodes)
        with torch.no_grad():
            made: Mapping[str, Any] = extractor(torch.zeros(1, 3, PROBE, PROBE))
    except Exception as error:  # of torch.fx, or of a network that takes no image of this size
        raise UserError(
            f"{what} gives no feature maps ({type(error).__name__}); take a convolutional network "
            f"of classification, such as {PREFIX}resnet50"
        ) from error
    network.train()
    return {
        node: (map_.shape[1], PROBE // map_.shape[2])
        for node, map_ in made.items()
        if isinstance(map_, Tensor)
        and map_.ndim == 4
        and map_.shape[2] == map_.shape[3]
        and PROBE % map_.shape[2] == 0
    }


def _last_before(shapes: dict[str, tuple[int, int]], stride: int) -> str | None:
    """The last node of a stride before the stage that makes the next one.

    Inside that stage there are nodes of the finer stride, which are no whole features yet. The
    stage is the largest module around the first coarser node with nothing of another stride in it
    so far, that something of this stride comes before.
    """
    nodes = list(shapes)
    coarser = [k for k, node in enumerate(nodes) if shapes[node][1] > stride]
    end = len(nodes)
    if coarser and shapes[nodes[coarser[0]]][1] == 2 * stride:
        parts = nodes[coarser[0]].split(".")
        for depth in range(1, len(parts) + 1):
            stage = ".".join(parts[:depth])
            inside = [k for k in range(coarser[0]) if f"{nodes[k]}.".startswith(f"{stage}.")]
            first = min([*inside, coarser[0]])
            before = any(shapes[node][1] == stride for node in nodes[:first])
            if before and all(shapes[nodes[k]][1] == stride for k in inside):
                end = first
                break
    fitting = [node for node in nodes[:end] if shapes[node][1] == stride]
    return fitting[-1] if fitting else None
