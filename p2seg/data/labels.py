"""Label maps in VOC's format: PNG files whose palette indices are the labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from p2seg.data.images import opened_image
from p2seg.errors import UserError
from p2seg.runtime.files import atomic_path


def voc_palette() -> NDArray[np.uint8]:
    """VOC's colors, `[256, 3]` RGB; red, green and blue get the bits of the index in turn."""
    index = np.arange(256)
    bits = index[:, None] >> np.arange(8) & 1  # bit k of each index
    colors = np.zeros((256, 3), np.uint8)
    for bit in range(8):
        colors[:, bit % 3] |= (bits[:, bit] << (7 - bit // 3)).astype(np.uint8)
    return colors


def read_labels(
    path: Path, what: str = "label map", size: tuple[int, int] | None = None
) -> NDArray[np.uint8]:
    """Reads the labels of a palette or gray PNG.

    Args:
        path: the file.
        what: what the file should be, for the error ("mask").
        size: required (height, width) in pixels, checked before pixels are decoded; None: any.

    Returns:
        `[H, W]` uint8: palette indices, or gray values.

    Raises:
        UserError: the file is missing, unreadable, of another size, or a color image.
    """
    if not path.is_file():
        raise UserError(f"no {what} at {path}: check the folder and the file name")
    try:
        with opened_image(path) as image:
            if size is not None:
                check_size(path, (image.height, image.width), size)
            if image.mode not in ("P", "L", "1"):
                raise UserError(
                    f"{what} {path} has the color mode {image.mode}; it must be a PNG whose "
                    "palette indices or gray values are the labels"
                )
            image.load()
            labels: NDArray[np.uint8] = np.asarray(image).astype(np.uint8)
            return labels
    except UserError:
        raise
    except Exception as error:  # Pillow's decoders raise errors of many types
        reason = str(error) or type(error).__name__
        raise UserError(
            f"{what} {path} is not a readable PNG ({reason}); write it again"
        ) from error


def check_size(path: Path, shape: tuple[int, ...], size: tuple[int, int]) -> None:
    """Checks that a map has the size of its image.

    Args:
        path: path of the map.
        shape: (height, width) of the map.
        size: (height, width) of the image.

    Raises:
        UserError: the sizes differ.
    """
    if shape != size:
        raise UserError(
            f"map {path} is {shape[1]}x{shape[0]}, but its image is {size[1]}x{size[0]}; "
            "a map must have the size of its image"
        )


def write_labels(path: Path, labels: NDArray[Any]) -> None:
    """Writes labels 0..255, `[H, W]`, as a palette PNG in VOC's colors, atomically."""
    image = Image.fromarray(np.asarray(labels, np.uint8), mode="L")
    image.putpalette(voc_palette().tobytes())  # this changes the mode to P
    with atomic_path(path) as temporary:
        image.save(temporary)
