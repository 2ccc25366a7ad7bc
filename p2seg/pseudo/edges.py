"""Borders of a silhouette where the image has edges: a guided filter."""

from __future__ import annotations

import torch
from torch import Tensor

from p2seg.structures import IGNORED, Points

EDGE_NOISE = 1e-4
"""Changes of the image whose square (colors 0..1) is below this are no edges."""


def to_edges(probabilities: Tensor, image: Tensor, radius: int) -> Tensor:
    """Probabilities that change where the image does: a guided filter (He, Sun, Tang 2013).

    Args:
        probabilities: `[n, H, W]` float32, summing to 1.
        image: `[3, H, W]` uint8, the guide.
        radius: of its windows, pixels; 0: nothing is changed.

    Returns:
        `[n, H, W]` float32, summing to 1.
    """
    radius = min(radius, *(side - 1 for side in image.shape[1:]))
    if radius < 1:
        return probabilities
    from kornia.filters import guided_blur  # costs a second or two

    guide = image[None].to(probabilities) / 255
    filtered = guided_blur(guide, probabilities[None], 2 * radius + 1, EDGE_NOISE)[0]
    filtered = filtered.clamp(min=1e-6)
    return filtered / filtered.sum(0)


def mended(first: Tensor, image: Tensor, points: Points, foreground: float, edges: int) -> Tensor:
    """The first map with the borders that the image has nearby.

    Good for maps whose borders are coarse or too far in, bad for those whose borders are right
    (docs/developers/experiments.md).

    Args:
        first: `[H, W]` int64, 255 where it is open.
        image: `[3, H, W]` uint8.
        points: of the image.
        foreground: odds of classes against background at a border.
        edges: radius of `to_edges`; 0: nothing is changed.

    Returns:
        `[H, W]` int64; what was open stays so.
    """
    if edges < 1:
        return first
    classes = torch.tensor([0, *points.labels.unique().tolist()], device=first.device)
    given = (first[None] == classes[:, None, None]).float()
    probabilities = to_edges(torch.where(first == IGNORED, 1 / len(classes), given), image, edges)
    probabilities[1:] *= foreground
    return torch.where(first == IGNORED, first, classes[probabilities.argmax(0)])
