"""Data augmentation of segmentation models: scale, flip, and copy-paste."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from p2seg.data.coco import Instance, decode
from p2seg.errors import UserError

ImageAndMasks = tuple[Tensor, Tensor]
"""An image `[3, H, W]` uint8 and its masks `[K, H, W]` uint8."""


def resized(height: int, width: int, short_side: float, long_side: float) -> tuple[int, int]:
    """(height, width) resized to `short_side`, or to `long_side` if the long side would exceed it.

    The aspect ratio is kept, but each side has at least one pixel.
    """
    scale = min(short_side / min(height, width), long_side / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


@dataclass(frozen=True)
class RandomResize:
    """Random scale and horizontal flip.

    Attributes:
        short_side: pixels of the short side at scale 1.
        long_side: maximum pixels of the long side at scale 1.
        scale: (minimum, maximum) of the random scale.
        flip: whether images are flipped with probability 0.5.

    Raises:
        UserError: `scale` is not a range of positive numbers.
    """

    short_side: int
    long_side: int
    scale: Sequence[float] = (1.0, 1.0)
    flip: bool = True

    def __post_init__(self) -> None:
        if len(self.scale) != 2 or not 0 < self.scale[0] <= self.scale[1]:
            raise UserError(
                f"segmentor.resize.scale={list(self.scale)}: must be [lowest,highest] with "
                "0 < lowest <= highest"
            )

    def __call__(
        self, image: Tensor, instances: Sequence[Instance], random: torch.Generator
    ) -> ImageAndMasks:
        """Augments one image.

        Args:
            image: `[3, H, W]` uint8.
            instances: instances of the image.
            random: random generator.

        Returns:
            The image in its new size, and the mask of each instance, which may be empty.
        """
        flipped = self.flip and bool(torch.rand((), generator=random) < 0.5)
        low, high = self.scale
        scale = low + (high - low) * float(torch.rand((), generator=random))
        height, width = image.shape[1:]
        size = resized(height, width, self.short_side * scale, self.long_side * scale)
        image = F.resize(image, list(size), antialias=True)
        masks = torch.zeros((len(instances), *size), dtype=torch.uint8)
        for k, instance in enumerate(instances):  # one by one to save memory
            mask = torch.from_numpy(decode(instance)).to(torch.uint8)
            masks[k] = F.resize(mask[None], list(size), v2.InterpolationMode.NEAREST_EXACT)[0]
        if flipped:
            image, masks = F.horizontal_flip(image), F.horizontal_flip(masks)
        return image, masks


def paste_instances(
    under: ImageAndMasks, over: ImageAndMasks, random: torch.Generator
) -> tuple[ImageAndMasks, Tensor]:
    """Copy-paste (Ghiasi et al. 2021): pastes instances of one image at a random place of another.

    Args:
        under: the target image and its masks.
        over: the source image and its masks; each instance is pasted with probability 0.5.
        random: random generator.

    Returns:
        The image with the masks of both, those of `under` without covered pixels; and the indices
        `[P]` int64 of the pasted instances of `over`.
    """
    image, masks = under
    source, source_masks = over
    selected = (torch.rand(len(source_masks), generator=random) < 0.5).nonzero()[:, 0]
    source_masks = source_masks[selected]
    (height, width), (h, w) = image.shape[1:], source.shape[1:]
    # The largest window that fits into both images, at a random place of each.
    size = min(height, h), min(width, w)
    target = _window((height, width), size, random)
    origin = _window((h, w), size, random)
    pasted = torch.zeros((len(source_masks), height, width), dtype=torch.uint8)
    pasted[target] = source_masks[origin]
    covered = pasted.bool().any(0)
    image = image.clone()
    image[target] = torch.where(covered[target[1:]], source[origin], image[target])
    return (image, torch.cat([masks * ~covered, pasted])), selected


def _window(
    image: tuple[int, ...], size: tuple[int, int], random: torch.Generator
) -> tuple[slice, slice, slice]:
    """A random window of `size` (height, width) in an image, as an index of `[K, H, W]`."""
    y, x = (
        int(torch.randint(side - length + 1, (), generator=random))
        for side, length in zip(image, size, strict=True)
    )
    return slice(None), slice(y, y + size[0]), slice(x, x + size[1])
