"""Maps that other methods leave as NumPy files: labels, or a probability a class."""

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
MOST = 1.001
"""A probability, as float16 may round it."""


@dataclass(frozen=True)
class Stored:
    """What a file holds.

    Attributes:
        values: `[H, W]` whole numbers, labels; or `[n, h, w]` floats, probabilities.
        keys: the label of each of the n channels, 0 background; None where the file has no keys.
    """

    values: NDArray[Any]
    keys: list[int] | None = None


def read_array(path: Path, size: tuple[int, int], legend: Legend) -> Stored:
    """Reads a label map or probabilities, after a look at what the file declares.

    Args:
        path: an `.npy`, or an `.npz` with one array of any name and, maybe, `keys`.
        size: (height, width) of its image.
        legend: of its labels.

    Raises:
        UserError: unreadable, pickled, with several arrays, of another shape or dtype, or with
            channels that the legend does not have. Nothing is unpacked of such a file.
    """
    with opened_arrays(path) as arrays:
        keys = arrays.pop("keys", None)
        if len(arrays) != 1:
            names = f"{', '.join(sorted(arrays)) or 'none':.200}"
            raise UserError(
                f"map {path} must hold one array besides keys, and holds {names}; resave it as "
                "np.savez(path, prob=...)"
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
                f"map {path} has keys beside labels [H, W]; keys name the channels of "
                "probabilities [channels, H, W]: leave them out"
            )
        check_size(path, shape, size)
        return Stored(values.read())


def _keys(keys: Declared, count: int, path: Path) -> list[int]:
    """The labels of the channels, of which there are `count`."""
    fits = keys.shape == (count,) and count <= MOST_KEYS and (keys.dtype.kind in "iu" or not count)
    values = keys.read() if fits else None
    if values is None or len(np.unique(values)) < count:
        raise UserError(
            f"map {path} has keys of {keys.dtype!s:.60} and shape {list(keys.shape)!s:.100} for "
            f"{count} channels; give one whole number a channel, 0 background and k class k, none "
            "twice"
        )
    return [int(key) for key in values]


def labels_to_map(
    labels: NDArray[Any], path: Path, size: tuple[int, int], legend: Legend
) -> SemanticMap:
    """The map of a label map.

    Args:
        labels: `[H, W]` whole numbers, theirs.
        path: of the file, for errors.
        size: (height, width) of its image.
        legend: of their labels.

    Returns:
        `[H, W]` uint8, 0 background, 1..C classes, 255 ignored.

    Raises:
        UserError: of another size, or with a label that the legend does not have.
    """
    check_size(path, labels.shape, size)
    found, index = np.unique(labels, return_inverse=True)
    ours = np.array([legend(int(label), path) for label in found], np.uint8)
    return ours[index].reshape(labels.shape)


def probabilities_to_map(
    stored: Stored, path: Path, size: tuple[int, int], legend: Legend, background: float | None
) -> SemanticMap:
    """The map of the most probable class at every pixel; ties go to the lower one.

    Probabilities of classes that become one add. Those of fewer pixels than the image are
    enlarged bilinearly before they are compared.

    Args:
        stored: probabilities `[n, h, w]`, h <= H and w <= W.
        path: of the file, for errors.
        size: (height, width) of its image.
        legend: of their labels. Without keys, n channels are their labels 0..n-1 where n - 1 is
            the highest, and 1..n where n is.
        background: probability of the background where no channel is of label 0.

    Returns:
        `[H, W]` uint8, 0 background, 1..C classes, 255 ignored.

    Raises:
        UserError: negative or not finite, larger than the image, of another number of channels
            or of a label that the legend does not have; no background channel and no
            `background`, or a probability above 1 beside it.
    """
    probabilities = _checked(stored.values, path, size)
    labels = _channels(len(stored.values), stored.keys, path, legend)
    ours = [legend(label, path) for label in labels]
    scores: dict[int, NDArray[np.float32]] = {}
    if 0 not in labels:
        if background is None:
            raise UserError(
                f"map {path} has no channel for background; say from which probability on a pixel "
                "is of a class, as in semantic.background=0.3"
            )
        if probabilities.size and probabilities.max() > MOST:
            raise UserError(
                f"map {path} has {probabilities.max():g} where semantic.background={background} is "
                "compared with probabilities 0..1; divide each image's by their maximum"
            )
        scores[0] = np.full(probabilities.shape[1:], background, np.float32)
    for our, channel in zip(ours, probabilities, strict=True):
        scores[our] = scores[our] + channel if our in scores else channel
    if not ours:
        return np.zeros(size, np.uint8)  # no class at all: no pixel to enlarge
    best = np.full(size, -1, np.float32)
    semantic = np.zeros(size, np.uint8)
    for our in sorted(scores):
        score = scores[our]
        if score.shape != size:
            larger = cv2.resize(score, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)
            score = np.asarray(larger, np.float32)
        semantic[score > best] = our
        np.maximum(best, score, out=best)
    return semantic


def _checked(values: NDArray[Any], path: Path, size: tuple[int, int]) -> NDArray[np.float32]:
    """Probabilities as float32, after a look at their values and shape."""
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
                f"map {path} has {each.min():g} in channel {channel}; probabilities are not "
                "negative: take the softmax of scores, or their positive part"
            )
    return probabilities


def _check_channels_size(shape: tuple[int, ...], path: Path, size: tuple[int, int]) -> None:
    height, width = shape[1:]
    if not (0 < height <= size[0] and 0 < width <= size[1]):
        raise UserError(
            f"map {path} has channels of {width}x{height} but its image is {size[1]}x{size[0]}; "
            "probabilities [channels, H, W] are of the image's size or smaller"
        )


def _channels(count: int, keys: list[int] | None, path: Path, legend: Legend) -> Sequence[int]:
    """The label of every channel, theirs."""
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
