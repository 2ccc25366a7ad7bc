"""Decoders similar to Panoptic-DeepLab's, and prediction heads.

Paper: Fig. 3 (the three outputs). The paper adopts BESTIE's network and describes no decoder.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def conv_norm_relu(inputs: int, outputs: int, size: int, dilation: int = 1) -> nn.Sequential:
    """A convolution that keeps the resolution, batch normalization and ReLU."""
    padding = dilation * (size // 2)
    conv = nn.Conv2d(inputs, outputs, size, padding=padding, dilation=dilation, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


def separable(inputs: int, outputs: int, size: int) -> nn.Sequential:
    """A depthwise (`size` x `size`) and a 1x1 convolution, each with batch norm and ReLU."""
    depthwise = nn.Conv2d(inputs, inputs, size, padding=size // 2, groups=inputs, bias=False)
    return nn.Sequential(
        depthwise,
        nn.BatchNorm2d(inputs),
        nn.ReLU(inplace=True),
        *conv_norm_relu(inputs, outputs, 1),
    )


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling with a branch for the mean over the image."""

    def __init__(self, inputs: int, outputs: int, dilations: Sequence[int]) -> None:
        super().__init__()
        self.branches = nn.ModuleList([conv_norm_relu(inputs, outputs, 1)])
        self.branches.extend(conv_norm_relu(inputs, outputs, 3, d) for d in dilations)
        # no batch norm on a 1x1 map, which would fail for a batch of one image
        self.pooled = nn.Sequential(nn.Conv2d(inputs, outputs, 1), nn.ReLU(inplace=True))
        self.project = conv_norm_relu((len(dilations) + 2) * outputs, outputs, 1)

    def forward(self, features: Tensor) -> Tensor:
        """`[B, inputs, h, w]` to `[B, outputs, h, w]`."""
        pooled = self.pooled(features.mean((2, 3), keepdim=True)).expand(
            -1, -1, *features.shape[2:]
        )
        maps = [*(branch(features) for branch in self.branches), pooled]
        mixed: Tensor = self.project(torch.cat(maps, 1))
        return mixed


class Decoder(nn.Module):
    """Fuses feature maps at strides 4 to 32 into one map at stride 4.

    Args:
        channels: channels of each feature map, finest first.
        width: channels inside the decoder and of its output.
        dilations: dilations of the ASPP.
    """

    def __init__(self, channels: Sequence[int], width: int, dilations: Sequence[int]) -> None:
        super().__init__()
        *finer, coarsest = channels
        self.aspp = ASPP(coarsest, width, dilations)
        skip = max(16, width // 4)
        self.skips = nn.ModuleList(conv_norm_relu(c, skip, 1) for c in finer)
        self.fuse = nn.ModuleList(separable(width + skip, width, 5) for _ in finer)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Fuses feature maps, finest first, to `[B, width, h, w]` at the finest stride."""
        *finer, coarsest = features
        x: Tensor = self.aspp(coarsest)
        for level in reversed(range(len(finer))):
            skip = self.skips[level](finer[level])
            x = F.interpolate(x, skip.shape[2:], mode="bilinear", align_corners=False)
            x = self.fuse[level](torch.cat([x, skip], 1))
        return x


class DetailHead(nn.Module):
    """Class logits at full resolution: upsampled stride-4 logits plus a residual from the image.

    Stride 4 alone blurs borders and loses small objects.

    Args:
        inputs: channels of the decoder's map.
        outputs: channels of the logits.
        width: channels of the convolutions at full resolution.
    """

    def __init__(self, inputs: int, outputs: int, width: int) -> None:
        super().__init__()
        self.project = nn.Conv2d(inputs, width, 1)
        self.convolutions = nn.Sequential(
            conv_norm_relu(width + 3, width, 3),
            conv_norm_relu(width, width, 3),
            nn.Conv2d(width, outputs, 1),
        )

    def forward(self, features: Tensor, logits: Tensor, images: Tensor) -> Tensor:
        """Class logits at full resolution.

        Args:
            features: `[B, inputs, h, w]`, the decoder's map.
            logits: `[B, outputs, h, w]`, class logits at stride 4.
            images: `[B, 3, H, W]` float32, normalized.

        Returns:
            `[B, outputs, H, W]`.
        """
        size = images.shape[2:]
        parts = [_resized(self.project(features), size), images]
        detail: Tensor = self.convolutions(torch.cat(parts, 1))
        return _resized(logits, size) + detail


def _resized(maps: Tensor, size: torch.Size) -> Tensor:
    return F.interpolate(maps, size, mode="bilinear", align_corners=False)


class Finest(nn.Module):
    """Stands in for a decoder and returns the backbone's finest map unchanged."""

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Returns the first of the feature maps.

        The other maps are added with weight 0, because DDP needs a gradient for every parameter.
        """
        finest, *others = features
        return finest + 0 * torch.stack([each.mean() for each in others]).sum()


class Head(nn.Sequential):
    """A convolution with ReLU and a 1x1 convolution with `outputs` channels.

    Args:
        inputs: channels of the input.
        outputs: channels of the output.
        width: channels of a first 3x3 convolution without normalization (the authors' heads).
            None: the first convolution is a 5x5 depthwise-separable one with normalization and
            `inputs` channels.
        last_std: standard deviation of the initial weights of the last layer; None: PyTorch's
            default.
    """

    def __init__(
        self, inputs: int, outputs: int, width: int | None, last_std: float | None = None
    ) -> None:
        between = inputs if width is None else width
        last = nn.Conv2d(between, outputs, 1)
        if last_std is not None:
            nn.init.normal_(last.weight, std=last_std)
        assert last.bias is not None
        nn.init.zeros_(last.bias)
        if width is None:
            super().__init__(separable(inputs, inputs, 5), last)
        else:
            super().__init__(nn.Conv2d(inputs, width, 3, padding=1), nn.ReLU(inplace=True), last)
