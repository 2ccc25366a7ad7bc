"""Agreement of masks with a trained network: class probabilities, assigned by offsets."""

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
    """Compares masks with the prediction of a network for each point.

    Attributes:
        labeler: the network, with its test-time augmentation.
        provenance: origin of the network, as JSON values.
    """

    labeler: NetworkLabeler
    provenance: dict[str, Any]

    @torch.inference_mode()
    def __call__(
        self, image: Tensor, points: Points, masks: NDArray[np.bool_], of: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """The soft IoU of each mask with the network's prediction for its point.

        Args:
            image: `[3, H, W]` uint8.
            points: the K points of the image.
            masks: `[M, H, W]` bool.
            of: `[M]` int64, the point of each mask.

        Returns:
            `[M]` float64 in 0..1.
        """
        outputs = self.labeler.outputs(image.to(self.labeler.device), points)
        own = (image.shape[1], image.shape[2])
        size = self.labeler.input.size_of(*own)
        predicted = predicted_objects(outputs, moved_points(points, own, size)).cpu().numpy()
        cells = predicted.shape[1:]
        ious = [
            soft_iou(on_grid(_resized(mask, size), cells), predicted[k])
            for mask, k in zip(masks, of, strict=True)
        ]
        return np.asarray(ious, np.float64)


def predicted_objects(outputs: Outputs, points: Points) -> Tensor:
    """The probability that each cell belongs to each point's object.

    It is the probability of the point's class where the cell's offset ends nearest to this point
    of all points of the class, else 0.

    Args:
        outputs: outputs of the network, B = 1.
        points: the K points of the image, in pixels of the network's input.

    Returns:
        `[K, h, w]` float32 in 0..1.
    """
    labels = points.labels.to(outputs.offset.device)
    classes = class_probabilities(outputs.class_logits, [points])[0]
    offset = outputs.offset[0].float()
    goal = pixel_grid(offset) * STRIDE + (STRIDE - 1) / 2 + offset
    distance = (goal - points.yx.to(goal)[:, :, None, None]).square().sum(1)
    predicted = torch.zeros_like(distance)
    for label in points.labels.unique().tolist():
        same = labels == label
        nearest = distance[same] == distance[same].amin(0)
        predicted[same] = classes[label] * nearest
    return predicted


def on_grid(mask: NDArray[Any], cells: tuple[int, ...]) -> NDArray[np.float32]:
    """The share of each cell of the stride-4 grid that a mask covers, `[h, w]`.

    Args:
        mask: `[H, W]` at the size of the network's input: bool, or shares of pixels.
        cells: (h, w).
    """
    height, width = (STRIDE * side for side in cells)
    padded = np.zeros((max(height, mask.shape[0]), max(width, mask.shape[1])), np.float32)
    padded[: mask.shape[0], : mask.shape[1]] = mask
    small = cv2.resize(padded[:height, :width], cells[::-1], interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.float32)


def _resized(mask: NDArray[np.bool_], size: Size) -> NDArray[Any]:
    """The share of each pixel of the network's input that a mask covers."""
    if mask.shape == size:
        return mask
    return cv2.resize(mask.astype(np.float32), size[::-1], interpolation=cv2.INTER_AREA)


def soft_iou(mask: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """IoU of two maps of shares 0..1."""
    union = float(np.maximum(mask, other).sum())
    return float(np.minimum(mask, other).sum()) / union if union else 0.0
