"""Backbones from timm and torchvision: feature maps at strides 4 to 32."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import timm
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from p2seg.engine.finite import not_finite
from p2seg.errors import UserError
from p2seg.models.mask_weights import refuse_mask_weights
from p2seg.models.torchvision_backbones import PREFIX, torchvision_features
from p2seg.runtime.archives import oversized
from p2seg.structures import STRIDE

PREFIXES = ("", "backbone.body.", "backbone.bottom_up.", "backbone.", "module.", "encoder.")
"""Prefixes under which weight files store a backbone's tensors, such as in a detector."""


class Backbone(nn.Module):
    """A network that returns feature maps, finest first.

    Attributes:
        channels: number of channels of each map.
        strides: stride of each map in input pixels.
    """

    def __init__(self, body: nn.Module, channels: list[int], strides: list[int]) -> None:
        super().__init__()
        self.body = body
        self.channels = channels
        self.strides = strides

    def forward(self, images: Tensor) -> list[Tensor]:
        """Feature maps `[B, channels, H / stride, W / stride]` of images `[B, 3, H, W]`."""
        maps = self.body(images)
        return list(maps.values() if isinstance(maps, dict) else maps)


def build_backbone(
    name: str,
    *,
    pretrained: bool = True,
    weights: Path | str | None = None,
    output_stride: int = 32,
    feature_location: str | None = None,
    group: str = "model",
    allow_masks: bool = False,
) -> Backbone:
    """Builds a backbone with feature maps at strides 4 to `output_stride`.

    Args:
        name: name of a timm model, such as `hrnet_w48.ms_in1k`, or of a torchvision model, such as
            `torchvision.resnet50`.
        pretrained: whether to load ImageNet weights of timm or torchvision.
        weights: a .safetensors or .pth file with classification weights of the same network, used
            instead of a download; tensors of the classification head are ignored.
        output_stride: coarsest stride: 32, 16 or 8.
        feature_location: HRNet only: "" uses the raw branches (48/96/192/384 channels for w48)
            instead of timm's default, the classification head's maps (128/256/512/1024).
        group: config group for error messages, `model` or `segmentor`.
        allow_masks: whether to accept weights that were trained on masks or boxes.

    Raises:
        UserError: the name is unknown, the network lacks suitable feature maps, or the weights
            are missing, belong to another network, or were trained on masks or boxes.
    """
    weights = None if weights is None else Path(weights).expanduser()
    if weights is not None and not weights.is_file():
        raise UserError(
            f"no backbone weights at {weights}: give the file with {group}.weights=PATH, or start "
            f"from random weights with {group}.pretrained=false {group}.weights=null"
        )
    from_hub = pretrained and weights is None
    if from_hub:
        refuse_mask_weights(name, group, allowed=allow_masks)
    if name.startswith(PREFIX):
        if output_stride != 32:
            raise UserError(
                f"{group}.output_stride={output_stride}: must be 32 for {group}.backbone={name}"
            )
        own = torchvision_features(name.removeprefix(PREFIX), group, pretrained=from_hub)
        if weights is not None:
            load_backbone_weights(own[0], weights, group, allow_masks=allow_masks)
        return _checked(Backbone(*own), name, group) if from_hub else Backbone(*own)
    options: dict[str, Any] = {} if output_stride == 32 else {"output_stride": output_stride}
    if feature_location is not None:
        options["feature_location"] = feature_location
    try:
        with torch.device("meta"):  # only names and strides are needed, no weights
            probe: Any = timm.create_model(name, features_only=True, **options)
    except (RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        if "feature_location" in reason:
            reason = f"{group}.feature_location is supported by HRNet only; set it to null"
        raise UserError(f"timm cannot build {group}.backbone={name}: {reason}") from error
    reductions = probe.feature_info.reduction()
    wanted = [i for i, stride in enumerate(reductions) if stride >= 4]
    # of several maps with the same stride, the last one is used
    wanted = [i for i in wanted if i == len(reductions) - 1 or reductions[i + 1] != reductions[i]]
    body = _create(name, tuple(wanted), options, from_hub, group)
    if weights is not None:
        load_backbone_weights(body, weights, group, allow_masks=allow_masks)
    channels = [int(c) for c in body.feature_info.channels()]
    strides = [int(s) for s in body.feature_info.reduction()]
    channels_last = getattr(body, "output_fmt", "NCHW") == "NHWC"
    if strides[0] != STRIDE or strides[-1] > 32 or channels_last:
        order = ", channels last" if channels_last else ""
        raise UserError(
            f"{group}.backbone={name} has feature maps of strides {strides}{order}; use one "
            f"with strides {STRIDE} to 32 and channels first, such as a ResNet"
        )
    backbone = Backbone(body, channels, strides)
    return _checked(backbone, name, group) if from_hub else backbone


def _checked(backbone: Backbone, name: str, group: str) -> Backbone:
    """Returns the backbone, or raises if downloaded weights contain NaN or infinity."""
    nonfinite = not_finite(backbone.state_dict())
    if nonfinite is not None:
        raise UserError(
            f"{group}.backbone={name}: the weights contain NaN or infinity in {nonfinite}; "
            f"download them again, or give a file with {group}.weights=PATH"
        )
    return backbone


def _create(
    name: str, wanted: tuple[int, ...], options: dict[str, Any], from_hub: bool, group: str
) -> Any:
    try:
        body = timm.create_model(
            name, features_only=True, out_indices=wanted, pretrained=from_hub, **options
        )
    except Exception as error:
        if not from_hub:
            raise
        raise UserError(
            f"the ImageNet weights of {name} are not in timm's cache and could not be downloaded "
            f"({type(error).__name__}); give a file with {group}.weights=PATH, or start from "
            f"random weights with {group}.pretrained=false"
        ) from error
    return body


def load_backbone_weights(
    body: nn.Module, path: Path, group: str = "model", *, allow_masks: bool = False
) -> None:
    """Loads ImageNet weights from a file into a `features_only` network.

    Args:
        body: returned by `timm.create_model(..., features_only=True)`.
        path: a .safetensors file, or a .pth state dict (read with `weights_only=True`).
        group: config group for error messages.
        allow_masks: whether to accept weights that were trained on masks or boxes.

    Raises:
        UserError: the file is unreadable, would run code, belongs to another network, was trained
            on masks or boxes, or contains NaN or infinity.
    """
    about: Any = None
    reason = oversized(path)
    if reason is not None:
        raise UserError(f"{path} is not a readable weights file: {reason}; download it again")
    try:
        state: Any
        if path.suffix == ".safetensors":
            state = load_file(path)
            with safe_open(path, "pt") as file:
                about = file.metadata()
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise UserError(
            f"{path} is not a readable weights file ({type(error).__name__}): it must be a "
            ".safetensors file, or a .pth file that contains only tensors"
        ) from error
    for key in ("state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            about = [about, {k: v for k, v in state.items() if k != key}]
            state = state[key]
    if not isinstance(state, dict):
        raise UserError(
            f"{path} contains a {type(state).__name__} instead of weights; give a state dict"
        )
    refuse_mask_weights(path.name, group, state=state, content=about, allowed=allow_masks)
    own = body.state_dict()
    fitting = max((_fitting(own, _below(prefix, state)) for prefix in PREFIXES), key=len)
    missing = [k for k in own if k not in fitting and not k.endswith("num_batches_tracked")]
    if missing:
        raise UserError(
            f"{path} contains another network: {len(missing)} of {len(own)} tensors are missing or "
            f"have another shape, such as {missing[0]}; give weights of {group}.backbone"
        )
    nonfinite = not_finite(fitting)
    if nonfinite is not None:
        raise UserError(
            f"{path} contains NaN or infinity in {nonfinite}; download the file again, or give "
            "other weights"
        )
    body.load_state_dict(fitting, strict=False)


def _below(prefix: str, state: dict[Any, Any]) -> dict[Any, Any]:
    """The tensors whose names start with a prefix, by name without the prefix."""
    if not prefix:
        return state
    named = {k: v for k, v in state.items() if isinstance(k, str) and k.startswith(prefix)}
    return {key.removeprefix(prefix): value for key, value in named.items()}


def _fitting(own: dict[str, Tensor], state: dict[Any, Any]) -> dict[str, Tensor]:
    """The stored tensors that match a network's in name and shape."""
    stored = {k: state.get(_stored_name(k, state)) for k in own}
    return {k: v for k, v in stored.items() if isinstance(v, Tensor) and v.shape == own[k].shape}


def _stored_name(name: str, state: dict[Any, Any]) -> str:
    """The tensor's name in the classification network, where timm separates some parts by dots."""
    part, dot, rest = name.partition(".")  # stages_0.weight is stages.0.weight there
    joints = [i for i, letter in enumerate(part) if letter == "_"]
    names = [name, *(f"{part[:i]}.{part[i + 1 :]}{dot}{rest}" for i in joints)]
    return next((each for each in names if each in state), name)
