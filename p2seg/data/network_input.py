"""Size and contrast of network inputs, the same for training, export and figures."""

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
    """Conversion of an image to the input of a network. The default is no conversion.

    Attributes:
        short_side: the short side of an image is resized to this many pixels; None: not resized.
        long_side: largest long side after resizing, pixels; None: no limit.
        stretch: whether the values from the 0.1th to the 99.9th percentile, over all channels,
            become 0 to 255. A dark micrograph has only a few gray values.

    Raises:
        UserError: a side is below 1.
    """

    short_side: int | None = None
    long_side: int | None = None
    stretch: bool = False

    def __post_init__(self) -> None:
        for key, side in (("short_side", self.short_side), ("long_side", self.long_side)):
            if side is not None and side < 1:
                raise UserError(f"data.{key}={side}: must be an integer >= 1, or null")

    def size_of(self, height: int, width: int, scale: float = 1.0) -> Size:
        """The size of the network input of an image.

        Args:
            height: height of the image, pixels.
            width: width of the image, pixels.
            scale: factor of the augmentation.

        Returns:
            (height, width) with the aspect ratio of the image, each side at least 1.
        """
        factor = scale
        if self.short_side is not None:
            factor = self.short_side * scale / min(height, width)
        if self.long_side is not None:
            factor = min(factor, self.long_side * scale / max(height, width))
        return max(1, round(height * factor)), max(1, round(width * factor))

    def apply(self, image: Tensor, size: Size | None = None) -> Tensor:
        """The network input of an image.

        Args:
            image: `[3, H, W]` uint8.
            size: (height, width) of the result; None: `size_of` at scale 1.

        Returns:
            `[3, h, w]` uint8.
        """
        size = size or self.size_of(image.shape[1], image.shape[2])
        return resized_image(stretched(image) if self.stretch else image, size)


AS_IT_IS = NetworkInput()
"""No conversion."""


def resized_image(image: Tensor, size: Size) -> Tensor:
    """Resizes an image, `[3, H, W]` uint8, by bilinear interpolation with antialiasing."""
    if image.shape[1:] == size:
        return image
    from torchvision.transforms.v2 import functional as F  # its import takes a second

    resized: Tensor = F.resize(image, list(size), antialias=True)
    return resized


def stretched(image: Tensor) -> Tensor:
    """Maps the values of an image, `[3, H, W]` uint8, between `PERCENTILES` to 0..255."""
    share = torch.bincount(image.flatten(), minlength=256).cumsum(0) / image.numel()
    low, high = (int((share < each / 100).sum()) for each in PERCENTILES)
    values = (torch.arange(256, device=image.device) - low) * 255 / max(1, high - low)
    return values.round().clamp(0, 255).to(torch.uint8)[image.long()]


def resized_labels(labels: Tensor, size: Size) -> Tensor:
    """Resizes labels, integers `[..., H, W]` below 2^24, by nearest neighbor.

    Torchvision is not used, because the nearest neighbor of its older releases is shifted.
    """
    if labels.shape[-2:] == size:
        return labels
    stacked = labels.reshape(1, -1, *labels.shape[-2:]).float()
    large = interpolate(stacked, size, mode="nearest-exact")
    return large.to(labels.dtype).view(*labels.shape[:-2], *size)


def moved_points(points: Points, before: Size, after: Size) -> Points:
    """Scales the points of an image from one size of the image to another.

    The center of the pixel of a point is scaled, so that the point keeps the label of its pixel in
    `resized_labels`.
    """
    if before == after:
        return points
    factor = torch.tensor([after[0] / before[0], after[1] / before[1]]).to(points.yx)
    return Points(((points.pixels + 0.5) * factor).floor(), points.labels, points.ids)
