"""Maps that other methods leave as NumPy files: labels, or a probability a class.

Nothing is unpickled: a pickle runs whatever code its writer put into it.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from p2seg.data.maps import SemanticMap, check_size
from p2seg.errors import UserError
from p2seg.semantic.class_map import Legend

PICKLED = (b"\x80", b"\x93NUMPY", b"PK")
"""How a pickle begins, and files of NumPy, in which one may lie."""

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


def read_array(path: Path) -> Stored:
    """Reads a label map or probabilities.

    Args:
        path: an `.npy`, or an `.npz` with one array of any name and, maybe, `keys`.

    Raises:
        UserError: unreadable, pickled, with several arrays, or of another shape or dtype.
    """
    arrays = _arrays(path)
    keys = arrays.pop("keys", None)
    if len(arrays) != 1:
        names = ", ".join(sorted(arrays)) or "none"
        raise UserError(
            f"map {path} must hold one array besides keys, and holds {names}; resave it as "
            "np.savez(path, prob=...)"
        )
    (values,) = arrays.values()
    kind = values.dtype.kind
    if not (values.ndim == 2 and kind in "iu") and not (values.ndim == 3 and kind == "f"):
        raise UserError(
            f"map {path} holds {values.dtype} of shape {list(values.shape)}; it must hold whole "
            "numbers [H, W], labels, or floats [channels, H, W], probabilities"
        )
    if keys is None:
        return Stored(values)
    if values.ndim == 2:
        raise UserError(
            f"map {path} has keys beside labels [H, W]; keys name the channels of probabilities "
            "[channels, H, W]: leave them out"
        )
    fits = keys.shape == values.shape[:1] and (keys.dtype.kind in "iu" or not keys.size)
    if not fits or len(np.unique(keys)) < len(keys):
        raise UserError(
            f"map {path} has keys of {keys.dtype} and shape {list(keys.shape)} for {len(values)} "
            "channels; give one whole number a channel, 0 background and k class k, none twice"
        )
    return Stored(values, [int(key) for key in keys])


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
    labels = _channels(stored, path, legend)
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


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of a file by name."""
    try:
        with warnings.catch_warnings(), path.open("rb") as stream:
            warnings.simplefilter("ignore")  # a header of Python 2 is read all the same
            loaded = np.load(stream, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                return {"": loaded}
            arrays = {name: loaded[name] for name in loaded.files}
    except Exception as error:  # at a broken file: whatever a parser below NumPy came to
        if "pickle" in str(error) and _begins(path, PICKLED):
            raise UserError(
                f"map {path} is pickled (np.save of a dict), which is not read, for a pickle may "
                "run any code; resave it as np.savez(path, prob=d['high_res'], keys=d['keys'] + 1):"
                " keys are 0 for background and k for class k"
            ) from error
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        if "pickle" in reason:
            reason = "it begins as no such file does"
        raise UserError(
            f"map {path} is no readable NumPy file ({reason}); write it anew"
        ) from error
    if not all(isinstance(array, np.ndarray) for array in arrays.values()):
        raise UserError(f"map {path} holds files that are no arrays; write it with np.savez")
    return arrays


def _begins(path: Path, starts: tuple[bytes, ...]) -> bool:
    with path.open("rb") as stream:
        return stream.read(8).startswith(starts)


def _checked(values: NDArray[Any], path: Path, size: tuple[int, int]) -> NDArray[np.float32]:
    """Probabilities as float32, after a look at their values and shape."""
    height, width = values.shape[1:]
    if height > size[0] or width > size[1] or not (height and width):
        raise UserError(
            f"map {path} has channels of {width}x{height} but its image is {size[1]}x{size[0]}; "
            "probabilities [channels, H, W] are of the image's size or smaller"
        )
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


def _channels(stored: Stored, path: Path, legend: Legend) -> list[int]:
    """The label of every channel, theirs."""
    if stored.keys is not None:
        return stored.keys
    count, top = len(stored.values), legend.top
    if count == top + 1:
        return list(range(count))
    if count == top:
        return list(range(1, count + 1))
    raise UserError(
        f"map {path} has {count} channels but the highest class is {top}; it must have {top + 1} "
        f"(background first) or {top} (without), or keys that name its channels"
    )
