"""Reads semantic maps of other methods from NumPy files: labels, or probabilities per class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from p2seg.data.maps import SemanticMap, check_size
from p2seg.data.npy import Declared, opened_arrays
from p2seg.errors import UserError
from p2seg.semantic.class_map import Legend

MOST_KEYS = 1 << 16
MAX_PROBABILITY = 1.001
"""1, with the rounding error of float16."""


@dataclass(frozen=True)
class Stored:
    """The content of a file.

    Attributes:
        values: `[H, W]` integers (labels) or `[n, h, w]` floats (probabilities).
        keys: label of each of the n channels, 0 for background; None if the file has no keys.
    """

    values: NDArray[Any]
    keys: list[int] | None = None


def read_array(path: Path, size: tuple[int, int], legend: Legend) -> Stored:
    """Reads a label map or probabilities. The declared shapes are checked before unpacking.

    Args:
        path: an `.npy`, or an `.npz` with one array of any name and optional `keys`.
        size: (height, width) of the image.
        legend: legend of the file's labels.

    Raises:
        UserError: the file is unreadable, is pickled, has several arrays, has a wrong shape or
            dtype, or has channels that are not in the legend.
    """
    with opened_arrays(path) as arrays:
        keys = arrays.pop("keys", None)
        if len(arrays) != 1:
            names = f"{', '.join(sorted(arrays)) or 'none':.200}"
            raise UserError(
                f"map {path} must hold one array besides keys, but holds {names}; save it again "
                "with np.savez(path, prob=...)"
            )
        (values,) = arrays.values()
        kind, shape = values.dtype.kind, values.shape
        if not (len(shape) == 2 and kind in "iu") and not (len(shape) == 3 and kind == "f"):
            raise UserError(
                f"map {path} holds {values.dtype!s:.60} of shape {list(shape)!s:.100}; it must "
                "hold whole numbers [H, W], labels, or floats [channels, H, W], probabilities"
            )
        if len(shape) == 3:
            named = None if keys is None else _keys(keys, shape[0], path)
            _check_channels_size(shape, path, size)
            for label in _channels(shape[0], named, path, legend):
                legend(label, path)
            return Stored(values.read(), named)
        if keys is not None:
            raise UserError(
                f"map {path} has keys next to labels [H, W]; keys name the channels of "
                "probabilities [channels, H, W]: remove them"
            )
        check_size(path, shape, size)
        return Stored(values.read())


def _keys(keys: Declared, count: int, path: Path) -> list[int]:
    """The labels of `count` channels."""
    fits = keys.shape == (count,) and count <= MOST_KEYS and (keys.dtype.kind in "iu" or not count)
    values = keys.read() if fits else None
    if values is None or len(np.unique(values)) < count:
        raise UserError(
            f"map {path} has keys of {keys.dtype!s:.60} and shape {list(keys.shape)!s:.100} for "
            f"{count} channels; give one unique integer per channel, 0 for background and k for "
            "class k"
        )
    return [int(key) for key in values]


def labels_to_map(
    labels: NDArray[Any], path: Path, size: tuple[int, int], legend: Legend
) -> SemanticMap:
    """Converts a label map of another method to a semantic map.

    Args:
        labels: `[H, W]` integers, labels of the other method.
        path: the file, for messages.
        size: (height, width) of the image.
        legend: legend of the labels.

    Returns:
        `[H, W]` uint8, 0 background, 1..C classes, 255 ignored.

    Raises:
        UserError: the map has a different size, or a label that is not in the legend.
    """
    check_size(path, labels.shape, size)
    values, index = np.unique(labels, return_inverse=True)
    classes = np.array([legend(int(label), path) for label in values], np.uint8)
    return classes[index].reshape(labels.shape)


def probabilities_to_map(
    stored: Stored, path: Path, size: tuple[int, int], legend: Legend, background: float | None
) -> SemanticMap:
    """The most probable class at every pixel; ties go to the lower class.

    The probabilities of labels that map to one class are summed. Maps smaller than the image are
    enlarged bilinearly before the comparison.

    Args:
        stored: probabilities `[n, h, w]`, h <= H and w <= W.
        path: the file, for messages.
        size: (height, width) of the image.
        legend: legend of the labels. Without keys, the channels are labels 0..n-1 if the highest
            label is n - 1, and 1..n if it is n.
        background: probability of background if no channel has label 0.

    Returns:
        `[H, W]` uint8, 0 background, 1..C classes, 255 ignored.

    Raises:
        UserError: probabilities are negative or not finite, are larger than the image, or have a
            wrong number of channels or a label that is not in the legend. Or there is neither a
            background channel nor `background`, or a probability above 1 next to `background`.
    """
    probabilities = _checked(stored.values, path, size)
    labels = _channels(len(stored.values), stored.keys, path, legend)
    classes = [legend(label, path) for label in labels]
    scores: dict[int, NDArray[np.float32]] = {}
    if 0 not in labels:
        if background is None:
            raise UserError(
                f"map {path} has no channel for background; set the probability of background, "
                "as in semantic.background=0.3"
            )
        if probabilities.size and probabilities.max() > MAX_PROBABILITY:
            raise UserError(
                f"map {path} has {probabilities.max():g} where semantic.background={background} is "
                "compared with probabilities 0..1; divide each image's by their maximum"
            )
        scores[0] = np.full(probabilities.shape[1:], background, np.float32)
    for label, channel in zip(classes, probabilities, strict=True):
        scores[label] = scores[label] + channel if label in scores else channel
    if not classes:
        return np.zeros(size, np.uint8)  # no class at all: no pixel to enlarge
    best = np.full(size, -1, np.float32)
    semantic = np.zeros(size, np.uint8)
    for label in sorted(scores):
        score = scores[label]
        if score.shape != size:
            larger = cv2.resize(score, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)
            score = np.asarray(larger, np.float32)
        semantic[score > best] = label
        np.maximum(best, score, out=best)
    return semantic


def _checked(values: NDArray[Any], path: Path, size: tuple[int, int]) -> NDArray[np.float32]:
    """The probabilities as float32.

    Raises:
        UserError: a value is negative or not finite, or the shape does not fit the image.
    """
    _check_channels_size(values.shape, path, size)
    with np.errstate(over="ignore"):
        probabilities = values.astype(np.float32)
    for channel, each in enumerate(probabilities):
        if not np.isfinite(each).all():
            raise UserError(
                f"map {path} has nan or infinity in channel {channel}; write finite probabilities"
            )
        if each.min() < 0:
            raise UserError(
                f"map {path} has {each.min():g} in channel {channel}; probabilities must not be "
                "negative: apply softmax to the scores, or clip them at 0"
            )
    return probabilities


def _check_channels_size(shape: tuple[int, ...], path: Path, size: tuple[int, int]) -> None:
    height, width = shape[1:]
    if not (0 < height <= size[0] and 0 < width <= size[1]):
        raise UserError(
            f"map {path} has channels of {width}x{height} but its image is {size[1]}x{size[0]}; "
            "probabilities [channels, H, W] must not be larger than the image"
        )


def _channels(count: int, keys: list[int] | None, path: Path, legend: Legend) -> Sequence[int]:
    """The other method's label of every channel."""
    if keys is not None:
        return keys
    top = legend.top
    if count == top + 1:
        return range(count)
    if count == top:
        return range(1, count + 1)
    raise UserError(
        f"map {path} has {count} channels but the highest class is {top}; it must have {top + 1} "
        f"(background first) or {top} (without), or keys that name its channels"
    )
