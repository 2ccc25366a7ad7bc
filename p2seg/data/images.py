"""Reading photographs of every common kind into one form: uint8 RGB, upright as annotated."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from p2seg.data.rle import MAX_PIXELS
from p2seg.errors import UserError

__all__ = [
    *("FORMATS", "MAX_PIXELS", "SUFFIXES", "UNREAD", "check_image", "eight_bits"),
    *("is_deep", "opened_image", "pages_of", "read_image"),
]

Image.init()
_COMMON = ("JPEG", "MPO", "PNG", "BMP", "DIB", "WEBP", "TIFF", "PPM", "GIF", "JPEG2000", "AVIF")
FORMATS = tuple(name for name in _COMMON if name in Image.OPEN)
"""What is read, whatever a file's ending says: of others, EPS starts a program (Ghostscript)."""

SUFFIXES = frozenset(end for end, name in Image.registered_extensions().items() if name in FORMATS)
"""File name endings that count as images when a folder is walked: all of `FORMATS`."""

UNREAD = frozenset(
    (
        *(".heic", ".heif", ".hif", ".jxl", ".psd", ".svg", ".eps", ".exr", ".hdr", ".dng", ".cr2"),
        *(".cr3", ".nef", ".arw", ".orf", ".raf", ".rw2", ".dcm", ".czi", ".lif", ".nd2", ".svs"),
        *(".ndpi", ".mrxs", ".fits", ".tga", ".pcx", ".ico", ".npy", ".pdf"),
    )
)
"""Endings of images that are not read, and so are reported."""

PERCENTILES = (0.1, 99.9)
"""Of the values of a deep image: what becomes 0 and 255."""

EXIF_ORIENTATION = 0x0112


def read_image(path: Path, size: tuple[int, int] | None = None) -> npt.NDArray[np.uint8]:
    """Reads an image as RGB.

    Gray, palette, CMYK and transparent images are converted; deep ones, of more than 8 bits per
    value, are scaled by `eight_bits`. Of several pages or frames the first is read. The EXIF
    orientation is applied when that gives the annotated size, ignored when the stored size is the
    annotated one; without an annotated size it is applied, as a viewer does.

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
        if is_deep(opened):
            opened = _narrow(opened, path)
        else:
            opened.load()
        array: npt.NDArray[np.uint8] = np.array(_oriented(opened, size, path).convert("RGB"))
        return array


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
        # of a path Pillow maps raw pixels into memory, and then turns those of a TIFF wrongly
        with path.open("rb") as stream:
            try:
                image = Image.open(stream, formats=FORMATS)
            except Image.DecompressionBombError as error:  # Pillow has a limit of its own
                declared = re.sub(r".*?(\d+) pixels.*", r"\1", str(error))
                raise UserError(
                    f"image {path} declares {declared} pixels, more than can be read; cut it into "
                    "tiles"
                ) from error
            with image as opened:
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
    except UnidentifiedImageError as error:
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


def is_deep(image: Image.Image) -> bool:
    """Whether a file that was opened, and not loaded, has more than 8 bits per value.

    Pillow reads 16-bit colors as their high bytes and calls them RGB, so the layout of the file is
    asked as well.
    """
    packed = any(";16" in str(tile[3]) for tile in getattr(image, "tile", ()))
    return packed or image.mode in ("I", "F") or image.mode.startswith("I;16")


def eight_bits(values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Scales the values of a deep image to 8 bits.

    The values from the 0.1th to the 99.9th percentile of the image become 0 to 255; what lies
    beyond is clipped. If these percentiles are equal, the smallest and the largest value take
    their place. Values that are not finite become 0.

    Args:
        values: `[H, W]` or `[H, W, 3]`, integers or floats of any range.

    Returns:
        The same shape, uint8.
    """
    finite = np.isfinite(values)
    known = values[finite]
    if not known.size:
        return np.zeros(values.shape, np.uint8)
    low, high = np.percentile(known, PERCENTILES)
    if low == high:
        low, high = known.min(), known.max()
    low, high = float(low), float(high)
    span = high - low if high > low else 1.0
    scaled = (np.where(finite, values, low).astype(np.float64) - low) / span * 255
    return np.clip(np.round(scaled), 0, 255).astype(np.uint8)


def _narrow(image: Image.Image, path: Path) -> Image.Image:
    """A deep image with 8 bits per value, and its EXIF orientation."""
    colored = image.mode not in ("I", "F") and not image.mode.startswith("I;16")
    orientation = image.getexif()[EXIF_ORIENTATION] if _is_rotated(image) else 1
    image.load()  # says what is wrong with a broken file, which OpenCV does not
    values: npt.NDArray[Any] = np.asarray(image)
    if colored:
        decoded = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
        if decoded is None:
            raise ValueError("OpenCV cannot read its 16-bit colors")
        values = np.asarray(decoded)
        values = values[:, :, 0] if values.ndim == 3 and values.shape[2] < 3 else values
        values = values[:, :, 2::-1] if values.ndim == 3 else values  # BGR, BGRA
    narrow = Image.fromarray(eight_bits(values))
    if colored or image.format != "TIFF":  # Pillow turns a TIFF while it loads it
        narrow.getexif()[EXIF_ORIENTATION] = orientation
    return narrow


def pages_of(image: Image.Image) -> int:
    """The pages or frames of an image file, of which the first is read.

    The second picture of a phone's JPEG is a preview, and counts for none.
    """
    return 1 if image.format == "MPO" else int(getattr(image, "n_frames", 1))
