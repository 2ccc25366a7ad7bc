"""Small networks for tests."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from p2seg.data.transforms import MEAN_COLOR
from p2seg.models.backbones import build_backbone
from p2seg.models.network import P2SegNetwork
from p2seg.structures import Outputs


def tiny_network(num_classes: int = 2, *, seed: int = 0, **options: object) -> P2SegNetwork:
    """Returns a random network of about 100,000 parameters with timm's test backbone."""
    torch.manual_seed(seed)
    backbone = build_backbone("test_resnet", pretrained=False)
    for module in backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)  # timm's last one of a block is 0: no gradient
    settings = {"width": 8, "embedding": 4, "dilations": (1, 2), **options}
    return P2SegNetwork(backbone, num_classes, **settings)


class Beacon(nn.Module):
    """An equivariant network without training: all outputs follow the brightness of the image.

    Bright pixels are class 1, dark ones background, and every pixel points to the middle of the
    bright ones, wherever that is in the image it is shown and however large it is.
    """

    def __init__(self, *, detail=False):
        super().__init__()
        self.parameter = nn.Parameter(torch.zeros(()))
        self.shown = []
        self.detail = detail

    def forward(self, images):
        self.shown.append(tuple(images.shape[2:]))
        height, width = images.shape[2:]
        mean = MEAN_COLOR[0] / 255
        bright = F.pad(images[:, :1].float() / 255, (0, -width % 4, 0, -height % 4), value=mean)
        p = F.avg_pool2d(bright, 4).clamp(0.02, 0.98)
        lit = (bright > 0.75).float()
        y, x = torch.meshgrid(
            torch.arange(bright.shape[2]).float(),
            torch.arange(bright.shape[3]).float(),
            indexing="ij",
        )
        middle = [(lit[:, 0] * each).sum((1, 2)) / lit[:, 0].sum((1, 2)) for each in (y, x)]
        h, w = p.shape[2:]
        cell_y = (torch.arange(h) * 4 + 1.5)[:, None].expand(h, w)
        cell_x = (torch.arange(w) * 4 + 1.5)[None].expand(h, w)
        offset = torch.stack(
            [middle[0][:, None, None] - cell_y, middle[1][:, None, None] - cell_x], 1
        )
        logits = torch.cat([(1 - p).log(), p.log()], 1)
        made = Outputs(logits, offset, torch.zeros(len(p), 2, h, w))
        p = bright[..., :height, :width].clamp(0.02, 0.98)
        whole = torch.cat([(1 - p).log(), p.log()], 1)
        return made._replace(detailed_logits=whole) if self.detail else made


def lamp(height, width, top=8, left=12, bottom=28, right=40):
    """Returns a black image with one bright rectangle; all arguments are in pixels."""
    image = torch.zeros(3, height, width, dtype=torch.uint8)
    image[:, top:bottom, left:right] = 255
    return image
