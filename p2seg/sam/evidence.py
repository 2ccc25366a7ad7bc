"""What a trained network thinks of masks: its class probabilities, shared out by its offsets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from p2seg.data.network_input import Size, moved_points
from p2seg.method.i2s import class_probabilities
from p2seg.pseudo.network import NetworkLabeler
from p2seg.structures import STRIDE, Outputs, Points, pixel_grid


@dataclass(frozen=True)
class Evidence:
    """Compares masks with what a network sees around each point.

    Attributes:
        labeler: the network, and how it is asked (flips, scales).
        provenance: of the network, as JSON can hold it.
    """

    labeler: NetworkLabeler
    provenance: dict[str, Any]

    @torch.inference_mode()
    def __call__(
        self, image: Tensor, points: Points, masks: NDArray[np.bool_], of: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """How well masks agree with the network.

        Args:
            image: `[3, H, W]` uint8.
            points: K of the image.
            masks: `[M, H, W]` bool.
            of: `[M]` int64, the point each is offered for.

        Returns:
            `[M]` in 0..1: soft IoU with the point's pixels as the network sees them.
        """
        outputs = self.labeler.outputs(image.to(self.labeler.device), points)
        own = (image.shape[1], image.shape[2])
        size = self.labeler.input.size_of(*own)
        there = moved_points(points, own, size)
        seen = objects_seen(outputs, there).cpu().numpy()
        cells = seen.shape[1:]
        agreed = [
            soft_iou(on_grid(_at(size, mask), cells), seen[k])
            for mask, k in zip(masks, of, strict=True)
        ]
        return np.asarray(agreed, np.float64)


def objects_seen(outputs: Outputs, points: Points) -> Tensor:
    """The probability of every cell to be of each point's object.

    That of the point's class, if of all points of this class the cell points nearest to this one.

    Args:
        outputs: of the network, B = 1.
        points: K of the image, in pixels of what the network sees.

    Returns:
        `[K, h, w]` float32 in 0..1.
    """
    labels = points.labels.to(outputs.offset.device)
    classes = class_probabilities(outputs.class_logits, [points])[0]
    offset = outputs.offset[0].float()
    goal = pixel_grid(offset) * STRIDE + (STRIDE - 1) / 2 + offset
    away = (goal - points.yx.to(goal)[:, :, None, None]).square().sum(1)
    seen = torch.zeros_like(away)
    for label in points.labels.unique().tolist():
        rivals = labels == label
        nearest = away[rivals] == away[rivals].amin(0)
        seen[rivals] = classes[label] * nearest
    return seen


def on_grid(mask: NDArray[Any], cells: tuple[int, ...]) -> NDArray[np.float32]:
    """The share of each cell of the stride-4 grid that a mask covers, `[h, w]`.

    Args:
        mask: `[H, W]` of what the network sees: bool, or shares of its pixels.
        cells: (h, w).
    """
    height, width = (STRIDE * side for side in cells)
    padded = np.zeros((max(height, mask.shape[0]), max(width, mask.shape[1])), np.float32)
    padded[: mask.shape[0], : mask.shape[1]] = mask
    small = cv2.resize(padded[:height, :width], cells[::-1], interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.float32)


def _at(size: Size, mask: NDArray[np.bool_]) -> NDArray[Any]:
    """The share of each pixel of what the network sees that a mask covers."""
    if mask.shape == size:
        return mask
    return cv2.resize(mask.astype(np.float32), size[::-1], interpolation=cv2.INTER_AREA)


def soft_iou(mask: NDArray[np.float32], seen: NDArray[np.float32]) -> float:
    """IoU of two maps of shares 0..1."""
    union = float(np.maximum(mask, seen).sum())
    return float(np.minimum(mask, seen).sum()) / union if union else 0.0
