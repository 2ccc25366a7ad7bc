"""Reading photographs of every common kind into one form: uint8 RGB, upright as annotated."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from p2seg.data.rle import MAX_PIXELS
from p2seg.errors import UserError

__all__ = ["FORMATS", "MAX_PIXELS", "SUFFIXES", "check_image", "opened_image", "read_image"]

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm"})
"""File name endings that count as images when a folder is walked."""

Image.init()
_COMMON = ("JPEG", "MPO", "PNG", "BMP", "DIB", "WEBP", "TIFF", "PPM", "GIF", "JPEG2000", "AVIF")
FORMATS = tuple(name for name in _COMMON if name in Image.OPEN)
"""What is read, whatever a file's ending says: of others, EPS starts a program (Ghostscript)."""

EXIF_ORIENTATION = 0x0112


def read_image(path: Path, size: tuple[int, int] | None = None) -> npt.NDArray[np.uint8]:
    """Reads an image as RGB.

    Grey, palette, CMYK, 16-bit and transparent images are converted (16 bits scaled to 8). The
    EXIF orientation is applied when that gives the annotated size, ignored when the stored size
    is the annotated one; without an annotated size it is applied, as a viewer does.

    Args:
        path: the file.
        size: (height, width) by the annotation, pixels.

    Returns:
        `[H, W, 3]` uint8.

    Raises:
        UserError: missing, unreadable, truncated or of another size than annotated.
    """
    with _opened(path) as opened:
        _check_size(opened, size, path)  # before the pixels, which may be many
        opened.load()
        return _rgb(_oriented(opened, size, path))


def check_image(path: Path, size: tuple[int, int] | None = None) -> None:
    """Looks at the head of an image file alone: some 100 microseconds, no pixel is read.

    Args:
        path: the file.
        size: (height, width) by the annotation, pixels.

    Raises:
        UserError: missing, no image or of another size than annotated. What `read_image` says of
            a file that is cut short is not found.
    """
    with _opened(path) as opened:
        _check_size(opened, size, path)


@contextmanager
def opened_image(path: Path) -> Iterator[Image.Image]:
    """An image file of one of `FORMATS`, its pixels not read yet.

    Raises:
        UserError: it declares more than `MAX_PIXELS` pixels.
        Exception: whatever Pillow comes to at a broken file.
    """
    if not path.is_file():
        raise FileNotFoundError(path)  # a pipe would be waited for
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's notes on odd but readable files
        with Image.open(path, formats=FORMATS) as opened:
            if opened.width * opened.height > MAX_PIXELS:
                raise UserError(
                    f"image {path} declares {opened.width}x{opened.height} pixels, more than "
                    f"{MAX_PIXELS}; cut it into tiles"
                )
            yield opened


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """`opened_image`; what the block meets becomes a `UserError`."""
    try:
        if not path.is_file():
            raise UserError(f"no image at {path}: check the image folder and the file name")
        with opened_image(path) as opened:
            yield opened
    except UserError:
        raise
    except (UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise UserError(
            f"{path} is not an image that Pillow can read ({type(error).__name__}); "
            "replace it or go on without it with data.on_error=skip"
        ) from error
    except Exception as error:  # Pillow's decoders let through whatever they come to
        reason = str(error) or type(error).__name__
        raise UserError(
            f"image {path} is broken or cut short ({reason}); "
            "replace it or go on without it with data.on_error=skip"
        ) from error


def _check_size(image: Image.Image, size: tuple[int, int] | None, path: Path) -> None:
    """Refuses an image of another size than annotated, by its head."""
    stored = image.height, image.width
    turned = size == stored[::-1] and _is_rotated(image)  # asks a PNG for its pixels
    if size is not None and size != stored and not turned:
        raise _other_size(image, size, path)


def _oriented(image: Image.Image, size: tuple[int, int] | None, path: Path) -> Image.Image:
    upright = ImageOps.exif_transpose(image) if _is_rotated(image) else image
    if size is None or (upright.height, upright.width) == size:
        return upright
    if (image.height, image.width) == size:
        return image
    raise _other_size(image, size, path)


def _other_size(image: Image.Image, size: tuple[int, int], path: Path) -> UserError:
    height, width = size
    return UserError(
        f"image {path} is {image.width}x{image.height} but its annotation says {width}x{height}; "
        "use the image that was annotated"
    )


def _is_rotated(image: Image.Image) -> bool:
    try:
        return int(image.getexif().get(EXIF_ORIENTATION, 1)) != 1
    except Exception:  # whatever Pillow comes to in there
        return False  # a broken EXIF block orients nothing


def _rgb(image: Image.Image) -> npt.NDArray[np.uint8]:
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return _deep_to_rgb(image)
    array: npt.NDArray[np.uint8] = np.array(image.convert("RGB"))
    return array


def _deep_to_rgb(image: Image.Image) -> npt.NDArray[np.uint8]:
    values: npt.NDArray[Any] = np.asarray(image)
    if values.dtype.kind == "f":
        top = 1.0 if values.size == 0 or float(np.nanmax(values)) <= 1.0 else 255.0
        grey = np.nan_to_num(values) / top * 255.0
    else:
        grey = values.astype(np.float64) / 257.0  # 65535 -> 255
    narrow = np.clip(np.round(grey), 0, 255).astype(np.uint8)
    return np.repeat(narrow[:, :, None], 3, axis=2)
