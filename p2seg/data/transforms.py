"""Training augmentation, applied to image, labels and points together.

Labels are resized by nearest neighbor. Points outside the crop keep their coordinates, because
pixels of the crop can belong to them. All random numbers come from the generator that is passed.
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
"""Color of the padding, uint8 RGB: the mean of ImageNet, which is 0 after normalization."""


@dataclass(frozen=True)
class Augment:
    """Resize, random scale, crop, flip and photometric distortion. Paper: Sec. 4.1.

    Attributes:
        input: defines the size and the contrast of an image at scale 1.
        crop: side of the square output in pixels, a multiple of the stride of the heads.
        scale: range of the random scale.
        flip: whether images are flipped horizontally with probability 0.5.
        photometric: whether brightness, contrast, saturation and hue change.
        rotate: whether the crop is turned by a random number of quarter turns, for images without
            an up and a down.

    Raises:
        UserError: `crop` or `scale` is out of range.
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
                f"data.augment.crop={self.crop}: must be a positive multiple of {STRIDE} pixels"
            )
        if not 0 < self.scale[0] <= self.scale[1]:
            raise UserError(
                f"data.augment.scale={list(self.scale)}: must be [low, high] with 0 < low <= high"
            )

    def __call__(
        self, image: Tensor, points: Points, labels: Labels, random: torch.Generator
    ) -> tuple[Tensor, Points, Labels]:
        """Augments one image.

        Args:
            image: `[3, H, W]` uint8.
            points: the points of the image.
            labels: the labels of the image, `[H, W]`.
            random: the generator of all random numbers.

        Returns:
            Image `[3, crop, crop]` uint8, points at integer coordinates, which can lie outside the
            crop, and labels `[crop, crop]`.
        """
        height, width = image.shape[1:]
        packed = torch.stack([labels.semantic, labels.instances])
        low, high = self.scale
        size = self.input.size_of(height, width, low + (high - low) * _u(random))
        picture: Tensor = tv_tensors.Image(self.input.apply(image, size))
        mask: Tensor = tv_tensors.Mask(resized_labels(packed, size).int())
        pixels = moved_points(points, (height, width), size).pixels.float()
        if self.flip and _u(random) < 0.5:
            picture, mask = F.horizontal_flip(picture), F.horizontal_flip(mask)
            pixels[:, 1] = size[1] - 1 - pixels[:, 1]
        top = int(_u(random) * (max(0, size[0] - self.crop) + 1))
        left = int(_u(random) * (max(0, size[1] - self.crop) + 1))
        picture, mask = (_crop(each, top, left, self.crop) for each in (picture, mask))
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


def _crop(each: Tensor, top: int, left: int, side: int) -> Tensor:
    """Crops to `side` x `side` and pads at the bottom and the right if the image is smaller."""
    part = each[..., top : top + side, left : left + side]
    padding = [0, 0, side - part.shape[-1], side - part.shape[-2]]
    if isinstance(each, tv_tensors.Mask):
        padded = F.pad(part, padding, fill=0)
        padded[0, part.shape[-2] :] = IGNORED
        padded[0, :, part.shape[-1] :] = IGNORED
        return cast(Tensor, tv_tensors.Mask(padded))
    return cast(Tensor, tv_tensors.Image(F.pad(part, padding, fill=list(MEAN_COLOR))))


def _photometric(picture: Tensor, random: torch.Generator) -> Tensor:
    """Changes brightness, contrast, saturation and hue, each with probability 0.5."""
    strengths = {
        F.adjust_brightness: (0.875, 1.125),
        F.adjust_contrast: (0.5, 1.5),
        F.adjust_saturation: (0.5, 1.5),
        F.adjust_hue: (-0.05, 0.05),
    }
    for adjust, (low, high) in strengths.items():
        applies, value = _u(random) < 0.5, low + (high - low) * _u(random)
        if applies:
            picture = adjust(picture, value)
    return picture
