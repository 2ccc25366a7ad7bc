"""Reads images of all common formats as uint8 RGB, in the orientation of the annotation."""

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
"""Pillow formats that are read; EPS is not one, because Pillow would start Ghostscript."""

SUFFIXES = frozenset(end for end, name in Image.registered_extensions().items() if name in FORMATS)
"""File name endings of images in a folder: all endings of `FORMATS`."""

UNREAD = frozenset(
    (
        *(".heic", ".heif", ".hif", ".jxl", ".psd", ".svg", ".eps", ".exr", ".hdr", ".dng", ".cr2"),
        *(".cr3", ".nef", ".arw", ".orf", ".raf", ".rw2", ".dcm", ".czi", ".lif", ".nd2", ".svs"),
        *(".ndpi", ".mrxs", ".fits", ".tga", ".pcx", ".ico", ".npy", ".pdf"),
    )
)
"""File name endings of other image formats, which are reported and not read."""

PERCENTILES = (0.1, 99.9)
"""Percentiles of the values of an image that become 0 and 255."""

EXIF_ORIENTATION = 0x0112


def read_image(path: Path, size: tuple[int, int] | None = None) -> npt.NDArray[np.uint8]:
    """Reads an image as RGB.

    Gray, palette, CMYK and transparent images are converted. Images with more than 8 bits per
    value are scaled by `eight_bits`. If a file has several pages or frames, the first is read. The
    EXIF orientation is applied, unless only the stored orientation has the annotated size.

    Args:
        path: the file.
        size: (height, width) in the annotation, pixels.

    Returns:
        `[H, W, 3]` uint8.

    Raises:
        UserError: the file is missing, unreadable, truncated or of another size than annotated.
    """
    with _open(path) as image:
        _check_size(image, size, path)  # before the pixels are decoded
        if is_deep(image):
            image = _narrow(image, path)
        else:
            image.load()
        array: npt.NDArray[np.uint8] = np.array(_oriented(image, size, path).convert("RGB"))
        return array


def check_image(path: Path, size: tuple[int, int] | None = None) -> None:
    """Checks the header of an image file without decoding pixels, in about 100 microseconds.

    Truncated pixel data is not detected.

    Args:
        path: the file.
        size: (height, width) in the annotation, pixels.

    Raises:
        UserError: the file is missing, not an image or of another size than annotated.
    """
    with _open(path) as image:
        _check_size(image, size, path)


@contextmanager
def opened_image(path: Path) -> Iterator[Image.Image]:
    """Opens an image file of one of `FORMATS` without decoding its pixels.

    Raises:
        UserError: it declares more than `MAX_PIXELS` pixels.
        Exception: any error that Pillow raises for a damaged file.
    """
    if not path.is_file():
        raise FileNotFoundError(path)  # opening a pipe would block
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns about unusual but readable files
        # with a path, Pillow maps raw pixels into memory and rotates those of a TIFF wrongly
        with path.open("rb") as stream:
            try:
                image = Image.open(stream, formats=FORMATS)
            except Image.DecompressionBombError as error:  # twice `MAX_PIXELS`
                declared = re.sub(r".*?(\d+) pixels.*", r"\1", str(error))
                raise UserError(
                    f"image {path} declares {declared} pixels, more than can be read; cut it into "
                    "tiles"
                ) from error
            with image:
                if image.width * image.height > MAX_PIXELS:
                    raise UserError(
                        f"image {path} declares {image.width}x{image.height} pixels, more than "
                        f"{MAX_PIXELS}; cut it into tiles"
                    )
                yield image


@contextmanager
def _open(path: Path) -> Iterator[Image.Image]:
    """Like `opened_image`, but converts every error of the block to a `UserError`."""
    try:
        if not path.is_file():
            raise UserError(f"no image at {path}: check the image folder and the file name")
        with opened_image(path) as image:
            yield image
    except UserError:
        raise
    except UnidentifiedImageError as error:
        raise UserError(
            f"{path} is not an image that Pillow can read ({type(error).__name__}); "
            "replace it, or skip it with data.on_error=skip"
        ) from error
    except Exception as error:  # Pillow's decoders raise errors of many types
        reason = str(error) or type(error).__name__
        raise UserError(
            f"image {path} is damaged or truncated ({reason}); "
            "replace it, or skip it with data.on_error=skip"
        ) from error


def _check_size(image: Image.Image, size: tuple[int, int] | None, path: Path) -> None:
    """Rejects an image whose header declares another size than the annotation."""
    stored = image.height, image.width
    rotated = size == stored[::-1] and _is_rotated(image)  # which decodes the pixels of a PNG
    if size is not None and size != stored and not rotated:
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
    except Exception:  # Pillow raises errors of many types for a damaged EXIF block
        return False


def is_deep(image: Image.Image) -> bool:
    """Whether an image has more than 8 bits per value; its pixels must not be decoded yet.

    Pillow reads 16-bit colors as their high bytes in mode RGB, so the layout of the file is
    checked as well as the mode.
    """
    wide = any(";16" in str(tile[3]) for tile in getattr(image, "tile", ()))
    return wide or image.mode in ("I", "F") or image.mode.startswith("I;16")


def eight_bits(values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Scales the values of an image to 8 bits.

    The values from the 0.1th to the 99.9th percentile become 0 to 255, and values beyond are
    clipped. If these percentiles are equal, the minimum and the maximum are used instead. Values
    that are not finite become 0.

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
    """Converts a deep image to 8 bits per value and keeps its EXIF orientation."""
    colored = image.mode not in ("I", "F") and not image.mode.startswith("I;16")
    orientation = image.getexif()[EXIF_ORIENTATION] if _is_rotated(image) else 1
    image.load()  # raises an error with a reason for a damaged file, unlike OpenCV
    values: npt.NDArray[Any] = np.asarray(image)
    if colored:
        decoded = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
        if decoded is None:
            raise ValueError("OpenCV cannot read its 16-bit colors")
        values = np.asarray(decoded)
        values = values[:, :, 0] if values.ndim == 3 and values.shape[2] < 3 else values
        values = values[:, :, 2::-1] if values.ndim == 3 else values  # BGR, BGRA
    narrow = Image.fromarray(eight_bits(values))
    if colored or image.format != "TIFF":  # Pillow rotates a TIFF when it loads it
        narrow.getexif()[EXIF_ORIENTATION] = orientation
    return narrow


def pages_of(image: Image.Image) -> int:
    """The number of pages or frames of an image file; 1 for a phone's JPEG with a preview."""
    return 1 if image.format == "MPO" else int(getattr(image, "n_frames", 1))
