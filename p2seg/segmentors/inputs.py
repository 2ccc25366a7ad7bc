"""Images as networks take them: normalised, and padded at the bottom and right."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

PADDED_TO = 32
"""Input sides are padded to a multiple of this, the coarsest stride of the backbones."""


def prepared(images: Sequence[Tensor], mean: Tensor, std: Tensor) -> Tensor:
    """One batch of images.

    Args:
        images: B of `[3, h, w]` float in 0..1, of any sizes.
        mean: `[3, 1, 1]`.
        std: `[3, 1, 1]`.

    Returns:
        `[B, 3, H, W]`, zeros where an image is not.
    """
    sides = [max(image.shape[axis] for image in images) for axis in (1, 2)]
    height, width = (-(-side // PADDED_TO) * PADDED_TO for side in sides)
    return torch.stack(
        [
            F.pad((each - mean) / std, (0, width - each.shape[2], 0, height - each.shape[1]))
            for each in images
        ]
    )
