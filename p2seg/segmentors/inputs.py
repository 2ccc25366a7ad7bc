"""Normalization and padding of images for segmentation models."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from p2seg.models.network import IMAGENET_MEAN, IMAGENET_STD

PADDED_TO = 32
"""Input sides are padded to a multiple of this, the coarsest stride of the backbones."""


def normalized(image: Tensor) -> Tensor:
    """Normalizes `[..., 3, h, w]` in 0..1 by ImageNet's mean and standard deviation."""
    mean, std = (image.new_tensor(each)[:, None, None] for each in (IMAGENET_MEAN, IMAGENET_STD))
    return (image - mean) / std


def prepared(images: Sequence[Tensor]) -> Tensor:
    """Normalizes images and pads them with zeros at the bottom and right to one batch.

    Args:
        images: B images `[3, h, w]` float in 0..1, of any sizes.

    Returns:
        `[B, 3, H, W]`, H and W multiples of `PADDED_TO`.
    """
    sides = [max(image.shape[axis] for image in images) for axis in (1, 2)]
    height, width = (-(-side // PADDED_TO) * PADDED_TO for side in sides)
    return torch.stack(
        [
            F.pad(normalized(each), (0, width - each.shape[2], 0, height - each.shape[1]))
            for each in images
        ]
    )
