"""The roundness of a set's objects, measured on regions with exactly one click.

Ellipses (`mdm.split=mixture`) split touching round objects best, geodesic distance splits others.
docs/developers/experiments.md lists the roundness of several sets.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray

from p2seg.method.regions import regions_of
from p2seg.structures import PointBatch, Points

ROUND = 0.9
"""Ellipses split better from this roundness on: nuclei 0.94, drawn objects 0.86, COCO 0.81."""

MIN_PIXELS = 30
"""Smaller regions have no reliable shape."""

MIN_REGIONS = 10
"""Fewer regions give no reliable median."""


def roundness(maps: Iterable[tuple[NDArray[np.uint8], Points]]) -> float | None:
    """The median overlap of regions with the ellipses of their second moments.

    Args:
        maps: for each image its semantic map `[H, W]` and its points.

    Returns:
        Median IoU, 0 to 1, over the regions with exactly one click; None if there are fewer than
        10 regions of 30 pixels or more.
    """
    overlaps = [overlap for semantic, points in maps for overlap in _overlaps(semantic, points)]
    return float(np.median(overlaps)) if len(overlaps) >= MIN_REGIONS else None


def _overlaps(semantic: NDArray[np.uint8], points: Points) -> list[float]:
    """IoU of each region with one click and its ellipse, except regions at the image's border."""
    labels = torch.from_numpy(semantic.astype(np.int64))[None]
    regions = regions_of(labels, PointBatch.of([points], labels.device), 0.0)
    numbers = regions.labels[0].numpy()
    selected = regions.sole[0].numpy() > 0
    for edge in (numbers[0], numbers[-1], numbers[:, 0], numbers[:, -1]):
        selected[edge] = False
    overlaps = []
    for number in np.flatnonzero(selected):
        region = numbers == number
        yx = np.argwhere(region).astype(float)
        if len(yx) < MIN_PIXELS:
            continue
        center = yx.mean(0)
        precision = np.linalg.pinv(np.cov((yx - center).T))
        grid = np.indices(region.shape).reshape(2, -1).T - center
        # The variance of a uniform ellipse is a quarter of its squared semi-axis.
        inside = ((grid @ precision * grid).sum(1) <= 4).reshape(region.shape)
        overlaps.append(float((region & inside).sum() / (region | inside).sum()))
    return overlaps
