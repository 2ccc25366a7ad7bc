"""The smallest network that has every part, for tests."""

from __future__ import annotations

import torch
from torch import nn

from p2seg.models.backbones import build_backbone
from p2seg.models.network import P2SegNetwork


def tiny_network(num_classes: int = 2, *, seed: int = 0, **options: object) -> P2SegNetwork:
    """A network of some 100,000 parameters over timm's test backbone, random by `seed`."""
    torch.manual_seed(seed)
    backbone = build_backbone("test_resnet", pretrained=False)
    for module in backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)  # timm starts a block's last one at 0: no gradient yet
    settings = {"width": 8, "embedding": 4, "dilations": (1, 2), **options}
    return P2SegNetwork(backbone, num_classes, **settings)
