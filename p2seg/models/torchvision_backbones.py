"""torchvision's classification networks as backbones: their last feature map of each stride."""

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
"""Prefix of the backbone's name, as in `torchvision.resnet50`."""

PROBE = 64
"""Side in pixels of the test image with which strides are measured."""

STRIDES = (4, 8, 16, 32)


def torchvision_features(
    name: str, group: str, *, pretrained: bool
) -> tuple[nn.Module, list[int], list[int]]:
    """A torchvision network that returns feature maps at strides 4 to 32.

    Args:
        name: name without the prefix, such as `resnet50`.
        group: config group for error messages.
        pretrained: whether to load torchvision's ImageNet weights, downloaded if not cached.

    Returns:
        The network up to its last feature map, which returns a dictionary of maps, finest first,
        and keeps the names of its tensors; the channels of the maps; the strides of the maps.

    Raises:
        UserError: the name is unknown, the network lacks such maps, or there are no weights.
    """
    # networks of other tasks would download backbone weights even with weights=None
    if name.lower() not in list_models(torchvision.models):
        raise UserError(
            f"{group}.backbone={PREFIX}{name} is not a classification network of torchvision; use "
            f"one such as {PREFIX}resnet50"
        )
    try:
        network = get_model(name, weights="DEFAULT" if pretrained else None)
    except OSError as error:
        raise UserError(
            f"the ImageNet weights of {PREFIX}{name} are not in torchvision's cache and could not "
            f"be downloaded ({type(error).__name__}); give a file with {group}.weights=PATH, or "
            f"start from random weights with {group}.pretrained=false"
        ) from error
    shapes = _shapes(network, f"{group}.backbone={PREFIX}{name}")
    nodes = [_last_before(shapes, stride) for stride in STRIDES]
    if None in nodes:
        raise UserError(
            f"{group}.backbone={PREFIX}{name} has no feature map of each stride from "
            f"{STRIDES[0]} to {STRIDES[-1]}; use one that has, such as {PREFIX}resnet50"
        )
    selected = [str(node) for node in nodes]
    channels = [shapes[node][0] for node in selected]
    graph = create_feature_extractor(
        network, {node: str(k) for k, node in enumerate(selected)}, suppress_diff_warning=True
    )
    return graph, channels, list(STRIDES)


def _shapes(network: nn.Module, what: str) -> dict[str, tuple[int, int]]:
    """Channels and stride of each node of the graph that is a feature map, in graph order."""
    try:
        nodes = get_graph_node_names(network, suppress_diff_warning=True)[1][1:]
        extractor = create_feature_extractor(network.eval(), nodes)
        with torch.no_grad():
            maps: Mapping[str, Any] = extractor(torch.zeros(1, 3, PROBE, PROBE))
    except Exception as error:  # torch.fx, or a network with a fixed input size
        raise UserError(
            f"{what} has no feature maps ({type(error).__name__}); use a convolutional "
            f"classification network such as {PREFIX}resnet50"
        ) from error
    network.train()
    return {
        node: (map_.shape[1], PROBE // map_.shape[2])
        for node, map_ in maps.items()
        if isinstance(map_, Tensor)
        and map_.ndim == 4
        and map_.shape[2] == map_.shape[3]
        and PROBE % map_.shape[2] == 0
    }


def _last_before(shapes: dict[str, tuple[int, int]], stride: int) -> str | None:
    """The last node of a stride before the stage that computes the next stride.

    The stage itself contains intermediate nodes of the finer stride, which are not used. The stage
    is the largest module that contains the first coarser node, has only nodes of this stride
    before that node, and is preceded by a node of this stride.
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
