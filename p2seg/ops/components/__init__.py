"""Connected regions of label maps: OpenCV's on the CPU, a Triton union-find on CUDA."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

from p2seg.ops._kernels import fused


def connected_components(labels: Tensor) -> Tensor:
    """8-connected regions of equal labels.

    Args:
        labels: `[B, H, W]` integers 0..255; 0 is in no region.

    Returns:
        `[B, H, W]` int32 on the same device: 0 outside, and in each image one number in
        1..H W for each region. Which number a region has is not specified.
    """
    if fused(labels):
        from p2seg.ops.components import triton  # not on every machine

        return triton.connected_components(labels)
    made = [_of_one(each) for each in labels.byte().cpu().numpy()]
    return torch.from_numpy(np.stack(made)).to(labels.device)


def _of_one(labels: np.ndarray) -> np.ndarray:
    """OpenCV's labelling, a class at a time in the class's bounding box."""
    regions = np.zeros(labels.shape, np.int32)
    count = 0
    for label in np.flatnonzero(np.bincount(labels.ravel())[1:]) + 1:
        mask = (labels == label).view(np.uint8)
        x, y, width, height = cv2.boundingRect(mask)
        at = (slice(y, y + height), slice(x, x + width))
        found, numbers = cv2.connectedComponents(mask[at], connectivity=8, ltype=cv2.CV_32S)
        numbers += np.int32(count) * mask[at]
        regions[at] += numbers
        count += found - 1
    return regions
