"""SOLOv2's heads on a feature pyramid: the grid head and the mask feature.

Wang et al. 2020 (SOLOv2), Sec. 3.2 and 3.3.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from p2seg.segmentors.pyramid import group_norm

PRIOR = 0.01
"""Initial probability of each class in each cell."""


class RawOutputs(NamedTuple):
    """The raw outputs of the network, with G cells of all grids and E channels.

    Attributes:
        categories: `[B, G, C]`, class logits of each cell.
        kernels: `[B, G, E]`, weights of the 1x1 convolution of each cell.
        features: `[B, E, h, w]` at stride 4, the input of the kernels.
    """

    categories: Tensor
    kernels: Tensor
    features: Tensor


def with_places(maps: Tensor) -> Tensor:
    """CoordConv (Liu et al. 2018): adds channels x and y in -1..1 to `[B, D, h, w]`."""
    x, y = (_line(maps.shape[axis], maps) for axis in (-1, -2))
    shape = (maps.shape[0], 1, maps.shape[2], maps.shape[3])
    return torch.cat([maps, x.expand(shape), y[:, None].expand(shape)], 1)


def _line(cells: int, like: Tensor) -> Tensor:
    """`[cells]` from -1 to 1; 0 for a single cell."""
    index = torch.arange(cells, device=like.device, dtype=like.dtype)
    half = index[-1:] / 2
    return (index - half) / half.clamp(min=0.5)


def _block(channels: int, to: int) -> nn.Sequential:
    convolution = nn.Conv2d(channels, to, 3, padding=1, bias=False)
    nn.init.normal_(convolution.weight, std=0.01)
    return nn.Sequential(convolution, group_norm(to), nn.ReLU(inplace=True))


class GridHead(nn.Module):
    """Predicts classes and mask kernels of each cell, with weights shared by all levels.

    Args:
        channels: channels of the pyramid.
        hidden: channels of the convolutions.
        depth: number of convolutions of each branch before the last one.
        classes: C.
        kernel: E, number of weights of a cell's kernel.
    """

    def __init__(self, channels: int, hidden: int, depth: int, classes: int, kernel: int) -> None:
        super().__init__()
        inputs = [channels] + [hidden] * (depth - 1)
        self.category = nn.Sequential(*(_block(each, hidden) for each in inputs))
        inputs[0] += 2
        self.kernel = nn.Sequential(*(_block(each, hidden) for each in inputs))
        self.to_category = nn.Conv2d(hidden, classes, 3, padding=1)
        self.to_kernel = nn.Conv2d(hidden, kernel, 3, padding=1)
        for last, bias in ((self.to_category, math.log(PRIOR / (1 - PRIOR))), (self.to_kernel, 0)):
            nn.init.normal_(last.weight, std=0.01)
            assert last.bias is not None
            nn.init.constant_(last.bias, bias)

    def forward(self, levels: Sequence[Tensor], cells: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Classes and kernels of all cells.

        Args:
            levels: feature maps `[B, D, h, w]`, one per level.
            cells: cells per side of each level.

        Returns:
            Class logits `[B, G, C]` and kernels `[B, G, E]`, G cells of all levels row by row.
        """
        categories, kernels = [], []
        for level, side in zip(levels, cells, strict=True):
            placed = F.interpolate(
                with_places(level), size=(side, side), mode="bilinear", align_corners=False
            )
            kernels.append(self.to_kernel(self.kernel(placed)).flatten(2))
            categories.append(self.to_category(self.category(placed[:, :-2])).flatten(2))
        return torch.cat(categories, 2).transpose(1, 2), torch.cat(kernels, 2).transpose(1, 2)


class MaskFeature(nn.Module):
    """Fuses all pyramid levels into one feature map at stride 4.

    Args:
        channels: channels of the pyramid.
        hidden: channels of the convolutions.
        levels: number of pyramid levels, finest first, each half as large as the previous one.
        out: channels of the result.
    """

    def __init__(self, channels: int, hidden: int, levels: int, out: int) -> None:
        super().__init__()
        self.paths = nn.ModuleList()
        for level in range(levels):
            blocks = []
            for step in range(max(1, level)):
                inputs = hidden if step else channels + 2 * (level == levels - 1)
                blocks.append(_block(inputs, hidden))
                if level:
                    blocks.append(
                        nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)  # type: ignore[arg-type]
                    )
            self.paths.append(nn.Sequential(*blocks))
        merge = nn.Conv2d(hidden, out, 1, bias=False)
        nn.init.normal_(merge.weight, std=0.01)
        self.merge = nn.Sequential(merge, group_norm(out), nn.ReLU(inplace=True))

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        """Fuses levels `[B, channels, h / 2^k, w / 2^k]`, k = 0, 1, .., to `[B, out, h, w]`."""
        *finer, coarsest = levels
        maps = [*finer, with_places(coarsest)]
        total = self.paths[0](maps[0])
        for path, each in zip(self.paths[1:], maps[1:], strict=True):
            total = total + path(each)
        return self.merge(total)  # type: ignore[no-any-return]


def at_grid_strides(pyramid: list[Tensor], own: int) -> list[Tensor]:
    """Resizes the finest pyramid level by 1/2 and an additional coarsest one by 2, as in SOLOv2."""
    levels = list(pyramid)
    if len(levels) > 1:
        size = levels[1].shape[2:]
        levels[0] = F.interpolate(levels[0], size=size, mode="bilinear", align_corners=False)
    if len(levels) > own:
        size = levels[own - 1].shape[2:]
        levels[-1] = F.interpolate(levels[-1], size=size, mode="bilinear", align_corners=False)
    return levels
