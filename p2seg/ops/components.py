"""Connected regions of a map."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor


def connected_components(mask: Tensor) -> Tensor:
    """8-connected regions of a mask.

    Args:
        mask: `[H, W]` bool.

    Returns:
        `[H, W]` int64: 0 outside the mask, 1..n inside; on the mask's device.
    """
    host = np.ascontiguousarray(mask.cpu().numpy(), dtype=np.uint8)
    _, labels = cv2.connectedComponents(host, connectivity=8)
    return torch.from_numpy(labels).long().to(mask.device)
