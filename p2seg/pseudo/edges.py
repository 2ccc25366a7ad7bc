"""Alignment of class borders to image edges by a guided filter."""

from __future__ import annotations

import torch
from torch import Tensor

from p2seg.structures import IGNORED, Points

EDGE_NOISE = 1e-4
"""Regularization of the guided filter: variance of colors (0..1) below which there is no edge."""


def to_edges(probabilities: Tensor, image: Tensor, radius: int) -> Tensor:
    """Aligns probabilities to image edges by a guided filter (He, Sun, Tang 2013).

    Args:
        probabilities: `[n, H, W]` float32, summing to 1.
        image: `[3, H, W]` uint8 RGB, the guide.
        radius: radius of the windows in pixels; 0: no change.

    Returns:
        `[n, H, W]` float32, summing to 1.
    """
    radius = min(radius, *(side - 1 for side in image.shape[1:]))
    if radius < 1:
        return probabilities
    from kornia.filters import guided_blur  # the import takes a second or two

    guide = image[None].to(probabilities) / 255
    filtered = guided_blur(guide, probabilities[None], 2 * radius + 1, EDGE_NOISE)[0]
    filtered = filtered.clamp(min=1e-6)
    return filtered / filtered.sum(0)


def aligned_map(
    first: Tensor, image: Tensor, points: Points, foreground: float, edges: int
) -> Tensor:
    """The initial semantic map with its borders aligned to nearby image edges.

    Improves maps whose borders are coarse or too far inside, and damages accurate maps
    (docs/developers/experiments.md).

    Args:
        first: `[H, W]` int64, initial semantic map; 255: unknown.
        image: `[3, H, W]` uint8 RGB.
        points: points of the image.
        foreground: factor on the odds of classes against background.
        edges: radius of `to_edges` in pixels; 0: no change.

    Returns:
        `[H, W]` int64; unknown pixels stay 255.
    """
    if edges < 1:
        return first
    classes = torch.tensor([0, *points.labels.unique().tolist()], device=first.device)
    one_hot = (first[None] == classes[:, None, None]).float()
    probabilities = to_edges(torch.where(first == IGNORED, 1 / len(classes), one_hot), image, edges)
    probabilities[1:] *= foreground
    return torch.where(first == IGNORED, first, classes[probabilities.argmax(0)])
