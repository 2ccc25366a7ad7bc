"""How a network sees an image, its size and contrast: one rule for training, export and figures."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from p2seg.data.images import PERCENTILES
from p2seg.errors import UserError
from p2seg.structures import Points

Size = tuple[int, int]
"""(height, width) in pixels."""


@dataclass(frozen=True)
class NetworkInput:
    """The rule. Without a number, a network sees images as they are.

    Attributes:
        short_side: pixels that the image's short side is resized to; None: it is not resized.
        long_side: the most pixels that the long side can have then; None: any number.
        stretch: whether the network sees an image's values from the 0.1th to the 99.9th
            percentile as 0 to 255, all channels alike. A dark micrograph is a few gray values wide.

    Raises:
        UserError: a side below 1.
    """

    short_side: int | None = None
    long_side: int | None = None
    stretch: bool = False

    def __post_init__(self) -> None:
        for key, side in (("short_side", self.short_side), ("long_side", self.long_side)):
            if side is not None and side < 1:
                raise UserError(f"data.{key}={side}: must be an integer >= 1, or null")

    def of(self, height: int, width: int, scale: float = 1.0) -> Size:
        """The size of what the network sees of an image.

        Args:
            height: of the image, pixels.
            width: of the image, pixels.
            scale: of the augmentation; the result at scale 1 is multiplied by it.

        Returns:
            (height, width) in the image's proportions, each side at least 1.
        """
        factor = scale
        if self.short_side is not None:
            factor = self.short_side * scale / min(height, width)
        if self.long_side is not None:
            factor = min(factor, self.long_side * scale / max(height, width))
        return max(1, round(height * factor)), max(1, round(width * factor))

    def seen(self, image: Tensor, size: Size | None = None) -> Tensor:
        """What the network sees of an image.

        Args:
            image: `[3, H, W]` uint8.
            size: of the result; None: that of `of` at scale 1.

        Returns:
            `[3, h, w]` uint8.
        """
        wanted = size or self.of(image.shape[1], image.shape[2])
        return resized_image(stretched(image) if self.stretch else image, wanted)


AS_IT_IS = NetworkInput()
"""The network sees every image as it is."""


def resized_image(image: Tensor, size: Size) -> Tensor:
    """An image `[3, H, W]` uint8 at another size, bilinearly and without aliasing."""
    if image.shape[1:] == size:
        return image
    from torchvision.transforms.v2 import functional as F  # costs a second or two

    resized: Tensor = F.resize(image, list(size), antialias=True)
    return resized


def stretched(image: Tensor) -> Tensor:
    """An image `[3, H, W]` uint8 whose values between `PERCENTILES` become 0 to 255."""
    share = torch.bincount(image.flatten(), minlength=256).cumsum(0) / image.numel()
    low, high = (int((share < each / 100).sum()) for each in PERCENTILES)
    values = (torch.arange(256, device=image.device) - low) * 255 / max(1, high - low)
    return values.round().clamp(0, 255).to(torch.uint8)[image.long()]


def resized_labels(labels: Tensor, size: Size) -> Tensor:
    """Whole numbers `[..., H, W]` below 2^24 at another size, by nearest neighbor.

    The rule of torchvision's masks is another, shifted, nearest neighbor in older releases.
    """
    if labels.shape[-2:] == size:
        return labels
    stacked = labels.reshape(1, -1, *labels.shape[-2:]).float()
    large = interpolate(stacked, size, mode="nearest-exact")
    return large.to(labels.dtype).view(*labels.shape[:-2], *size)


def moved_points(points: Points, before: Size, after: Size) -> Points:
    """The points of an image of one size on the same image of another size.

    A point moves as the center of its pixel does: only so does it stay on its own label.
    """
    if before == after:
        return points
    factor = torch.tensor([after[0] / before[0], after[1] / before[1]]).to(points.yx)
    return Points(((points.pixels + 0.5) * factor).floor(), points.labels, points.ids)
