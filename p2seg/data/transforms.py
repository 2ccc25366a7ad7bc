"""Training augmentation: image, labels and points moved together.

Labels are warped by nearest neighbor; points outside the crop keep their coordinates and stay
candidates. Nothing here draws from a global random state: a generator is handed in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional as F

from p2seg.data.network_input import (
    AS_IT_IS,
    NetworkInput,
    moved_points,
    resized_labels,
)
from p2seg.errors import UserError
from p2seg.structures import IGNORED, STRIDE, Labels, Points

MEAN_COLOR = (124, 116, 104)
"""ImageNet's mean, uint8 RGB: what padding is filled with, 0 after normalization."""


@dataclass(frozen=True)
class Augment:
    """Resize, random scale, crop, flip and photometric distortion. Paper: Sec. 4.1.

    Attributes:
        input: what the network sees of an image at scale 1.
        crop: side of the square output, pixels, a multiple of the heads' stride.
        scale: range of the random scale.
        flip: horizontal flips, half of the time.
        photometric: brightness, contrast, saturation and hue.
        rotate: a random number of quarter turns of the crop, for images without an up and a down.

    Raises:
        UserError: a length or a range that cannot be.
    """

    input: NetworkInput = AS_IT_IS
    crop: int = 416
    scale: tuple[float, float] = (0.7, 1.3)
    flip: bool = True
    photometric: bool = True
    rotate: bool = False

    def __post_init__(self) -> None:
        if self.crop < STRIDE or self.crop % STRIDE:
            raise UserError(
                f"the augmentation has crop={self.crop}; it must be a multiple of {STRIDE} pixels"
            )
        if not 0 < self.scale[0] <= self.scale[1]:
            raise UserError(
                f"the augmentation has scale={list(self.scale)}; give [low, high] with "
                "0 < low <= high"
            )

    def __call__(
        self, image: Tensor, points: Points, labels: Labels, random: torch.Generator
    ) -> tuple[Tensor, Points, Labels]:
        """Augments one image.

        Args:
            image: `[3, H, W]` uint8.
            points: of the image.
            labels: of `[H, W]`.
            random: draws everything.

        Returns:
            Image `[3, crop, crop]` uint8, points on whole pixels of it (also outside of it), labels
            `[crop, crop]`.
        """
        height, width = image.shape[1:]
        packed = torch.stack([labels.semantic, labels.instances])
        low, high = self.scale
        size = self.input.of(height, width, low + (high - low) * _u(random))
        picture: Tensor = tv_tensors.Image(self.input.seen(image, size))
        mask: Tensor = tv_tensors.Mask(resized_labels(packed, size).int())
        pixels = moved_points(points, (height, width), size).pixels.float()
        if self.flip and _u(random) < 0.5:
            picture, mask = F.horizontal_flip(picture), F.horizontal_flip(mask)
            pixels[:, 1] = size[1] - 1 - pixels[:, 1]
        top = int(_u(random) * (max(0, size[0] - self.crop) + 1))
        left = int(_u(random) * (max(0, size[1] - self.crop) + 1))
        picture, mask = (_cut(each, top, left, self.crop) for each in (picture, mask))
        yx = pixels - torch.tensor([float(top), float(left)])
        if self.photometric:
            picture = _photometric(picture, random)
        if self.rotate:
            turns = int(torch.randint(4, (), generator=random))
            picture, mask = (
                torch.rot90(each, turns, (-2, -1)).contiguous() for each in (picture, mask)
            )
            for _ in range(turns):
                yx = torch.stack([self.crop - 1 - yx[:, 1], yx[:, 0]], 1)
        semantic, instances = mask.as_subclass(Tensor).long()
        return (
            picture.as_subclass(Tensor).contiguous(),
            Points(yx, points.labels, points.ids),
            Labels(semantic, instances),
        )


def _u(random: torch.Generator) -> float:
    return float(torch.rand((), generator=random))


def _cut(each: Tensor, top: int, left: int, side: int) -> Tensor:
    """Crops to `side` x `side` and pads what is missing at the bottom and the right."""
    part = each[..., top : top + side, left : left + side]
    padding = [0, 0, side - part.shape[-1], side - part.shape[-2]]
    if isinstance(each, tv_tensors.Mask):
        padded = F.pad(part, padding, fill=0)
        padded[0, part.shape[-2] :] = IGNORED
        padded[0, :, part.shape[-1] :] = IGNORED
        return cast(Tensor, tv_tensors.Mask(padded))
    return cast(Tensor, tv_tensors.Image(F.pad(part, padding, fill=list(MEAN_COLOR))))


def _photometric(picture: Tensor, random: torch.Generator) -> Tensor:
    """Brightness, contrast, saturation and hue, each half of the time, in SSD's ranges."""
    strengths = {
        F.adjust_brightness: (0.875, 1.125),
        F.adjust_contrast: (0.5, 1.5),
        F.adjust_saturation: (0.5, 1.5),
        F.adjust_hue: (-0.05, 0.05),
    }
    for adjust, (low, high) in strengths.items():
        chosen, value = _u(random) < 0.5, low + (high - low) * _u(random)
        if chosen:
            picture = adjust(picture, value)
    return picture
