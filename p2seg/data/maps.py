"""Initial semantic maps on disk: one label PNG per image, with class indices."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from p2seg.data.labels import check_size, read_labels
from p2seg.errors import UserError
from p2seg.structures import IGNORED

__all__ = ["SemanticMap", "check_size", "map_path", "read_map", "restrict_to_classes"]

SemanticMap = npt.NDArray[np.uint8]


def map_path(folder: Path, file_name: str) -> Path:
    """The path of the map of an image: the relative path of the image with the ending .png."""
    return folder / Path(file_name).with_suffix(".png")


def read_map(path: Path, size: tuple[int, int], num_classes: int) -> SemanticMap:
    """Reads a map.

    Args:
        path: a palette or gray PNG.
        size: (height, width) of its image.
        num_classes: number of classes C.

    Returns:
        `[H, W]` uint8: 0 background, 1..C classes, 255 ignored.

    Raises:
        UserError: the file is missing, unreadable, of another size, or has a label above C.
    """
    if not path.is_file():
        raise UserError(
            f"no initial semantic map at {path}; create it with p2seg gen_semantic, or skip its "
            "image with data.on_error=skip"
        )
    array = read_labels(path, "semantic map", size)
    present = np.flatnonzero(np.bincount(array.reshape(-1), minlength=256))
    beyond = present[(present > num_classes) & (present != IGNORED)]
    if len(beyond):
        raise UserError(
            f"map {path} has label {beyond[0]}, but there are {num_classes} classes; labels must "
            f"be 0..{num_classes}, or {IGNORED} for ignored"
        )
    return array


def restrict_to_classes(array: SemanticMap, labels: npt.NDArray[np.int64]) -> SemanticMap:
    """Returns the map with every class without a point in the image set to 255 (ignored)."""
    keep = np.full(256, IGNORED, dtype=np.uint8)
    keep[0] = 0
    keep[labels] = labels
    return keep[array]
