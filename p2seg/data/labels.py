"""Label maps in VOC's form: PNG files whose palette indices are the labels."""

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
    """VOC's colors, `[256, 3]` RGB: the bits of the index dealt to red, green and blue in turn."""
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
        size: (height, width) that it must have, pixels; of another one nothing is decoded.

    Returns:
        `[H, W]` uint8: palette indices, or gray values.

    Raises:
        UserError: missing, unreadable, of another size, or of colors rather than labels.
    """
    if not path.is_file():
        raise UserError(f"no {what} at {path}: check the folder and the file name")
    try:
        with opened_image(path) as image:
            if size is not None:
                check_size(path, (image.height, image.width), size)
            if image.mode not in ("P", "L", "1"):
                raise UserError(
                    f"{what} {path} is an image of mode {image.mode}; it must be a PNG whose "
                    "palette indices (or gray values) are the labels"
                )
            image.load()
            labels: NDArray[np.uint8] = np.asarray(image).astype(np.uint8)
            return labels
    except UserError:
        raise
    except Exception as error:  # Pillow's decoders let through whatever they come to
        reason = str(error) or type(error).__name__
        raise UserError(f"{what} {path} is no readable PNG ({reason}); write it anew") from error


def check_size(path: Path, shape: tuple[int, ...], size: tuple[int, int]) -> None:
    """Refuses a map that has another size than its image.

    Args:
        path: of the map.
        shape: (height, width) of the map.
        size: of its image.

    Raises:
        UserError: they differ.
    """
    if shape != size:
        raise UserError(
            f"map {path} is {shape[1]}x{shape[0]} but its image is {size[1]}x{size[0]};"
            " maps must have the size of their images"
        )


def write_labels(path: Path, labels: NDArray[Any]) -> None:
    """Writes labels 0..255, `[H, W]`, as a palette PNG in VOC's colors, atomically."""
    image = Image.fromarray(np.asarray(labels, np.uint8), mode="L")
    image.putpalette(voc_palette().tobytes())  # from here on it is of mode P
    with atomic_path(path) as temporary:
        image.save(temporary)
