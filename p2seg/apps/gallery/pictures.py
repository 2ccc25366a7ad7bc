"""Renders an image for the gallery: the picture, its thumbnail, and a crop of every mask."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from p2seg.apps.gallery.measures import Mask, Tight
from p2seg.apps.report.pictures import Picture, fit
from p2seg.data.rle import encode

LARGE = 1280
"""Longest side of the picture in pixels."""
SMALL = 256
"""Longest side of a thumbnail in pixels."""
CELL = 192
"""Side of a stored crop in pixels."""
AROUND = 1.5
"""Side of a crop relative to the longest side of the mask's box."""
MIN_SIDE = 40
"""Smallest side of a crop in image pixels."""
SHEET = 16
"""Most crops per sheet; a sheet is four crops wide."""
BLANK = (24, 22, 20)
"""Color (blue, green, red) outside an image: the page's background."""
QUALITY = 82

Crop = tuple[int, int, int]
"""Top, left and side of a square in image pixels; the square may extend beyond the image."""


def shown(image: Picture) -> Picture:
    """Returns the image for the large view: at most `LARGE` pixels long."""
    return fit(image, LARGE) if max(image.shape[:2]) > LARGE else image


def thumbnail(picture: Picture) -> Picture:
    """Returns a thumbnail; a small picture is not enlarged."""
    return fit(picture, SMALL) if max(picture.shape[:2]) > SMALL else picture


def jpeg(picture: Picture) -> bytes:
    """Returns the picture encoded as JPEG."""
    options = [cv2.IMWRITE_JPEG_QUALITY, QUALITY, cv2.IMWRITE_JPEG_OPTIMIZE, 1]
    return cv2.imencode(".jpg", picture[:, :, ::-1], options)[1].tobytes()


def crop_of(tight: Tight, point: tuple[float, float] | None, size: tuple[int, int]) -> Crop:
    """Returns the square around a mask and its click, shifted into the image as far as it fits.

    Args:
        tight: the mask.
        point: (y, x) of the click in pixels.
        size: (height, width) of the image.
    """
    bottom, right = tight.top + tight.mask.shape[0], tight.left + tight.mask.shape[1]
    top, left = tight.top, tight.left
    if point is not None:
        y, x = math.floor(point[0]), math.floor(point[1])
        if not tight.mask.size:
            top, left, bottom, right = y, x, y + 1, x + 1
        top, left, bottom, right = min(top, y), min(left, x), max(bottom, y + 1), max(right, x + 1)
    side = max(MIN_SIDE, math.ceil(AROUND * max(bottom - top, right - left)))
    side = min(side, max(bottom - top, right - left, *size))
    y, x = _shifted((top + bottom - side) // 2, side, size[0]), (left + right - side) // 2
    return y, _shifted(x, side, size[1]), side


def _shifted(start: int, side: int, length: int) -> int:
    """Shifts an interval into 0..length; an interval that is too long is centered."""
    if side >= length:
        return (length - side) // 2
    return max(0, min(start, length - side))


def sheets(image: Picture, crops: Sequence[Crop]) -> list[Picture]:
    """Arranges the crops on sheets, four per row, as the page expects.

    Args:
        image: `[H, W, 3]`.
        crops: squares of the image.

    Returns:
        Sheets of `SHEET` crops; the last sheet has the rest. A sheet is at most four crops wide.
    """
    cells = [_cell(image, crop) for crop in crops]
    result = []
    for start in range(0, len(cells), SHEET):
        own = cells[start : start + SHEET]
        columns = min(4, len(own))
        own += [np.zeros_like(own[0])] * (-len(own) % columns)
        rows = [np.concatenate(own[k : k + columns], 1) for k in range(0, len(own), columns)]
        result.append(np.concatenate(rows))
    return result


def _cell(image: Picture, crop: Crop) -> Picture:
    top, left, side = crop
    y0, x0 = max(0, top), max(0, left)
    part = image[y0 : top + side, x0 : left + side]
    if part.shape[:2] != (side, side):
        above, before = y0 - top, x0 - left
        margins = above, side - above - part.shape[0], before, side - before - part.shape[1]
        part = np.asarray(
            cv2.copyMakeBorder(part, *margins, cv2.BORDER_CONSTANT, value=BLANK[::-1]), np.uint8
        )
    return fit(np.ascontiguousarray(part), CELL)


def outline(tight: Tight, crop: Crop) -> str:
    """Returns a mask as an SVG path, in pixels of its crop.

    Coordinates are integers, relative except for the first of each ring. `fill-rule` is `evenodd`.
    """
    top, left, side = crop
    if not tight.mask.size:
        return ""
    window = tight.window(top, left, side, side).astype(np.float32)
    how = cv2.INTER_AREA if side > CELL else cv2.INTER_LINEAR
    cell = np.asarray(cv2.resize(window, (CELL, CELL), interpolation=how)) >= 0.5
    rings, _ = cv2.findContours(cell.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    return "".join(_ring(cv2.approxPolyDP(ring, 0.7, True)[:, 0]) for ring in rings)


def _ring(points: NDArray[Any]) -> str:
    steps = np.diff(points, axis=0).reshape(-1).tolist()
    x, y = points[0].tolist()
    # A minus sign separates two numbers, so it needs no space.
    moves = "".join(f"{'' if n < 0 or k == 0 else ' '}{n}" for k, n in enumerate(steps))
    return f"M{x} {y}" + (f"l{moves}" if moves else "h1") + "z"


def codes_at(labels: NDArray[Any], values: Sequence[int], size: tuple[int, int]) -> list[str]:
    """Returns the run-length codes of some labels of a map, resized to the picture.

    Args:
        labels: `[H, W]`.
        values: the labels to encode.
        size: (height, width) of the picture.

    Returns:
        COCO's compressed counts per label; an empty string if a label has no pixel.
    """
    rows, columns = (
        ((np.arange(small) + 0.5) * large / small).astype(int)
        for small, large in zip(size, labels.shape, strict=True)
    )
    small = labels[rows[:, None], columns]
    present = set(np.unique(small).tolist())
    return [code_of(small == value) if value in present else "" for value in values]


def code_of(mask: Mask) -> str:
    """Returns COCO's compressed counts of a mask."""
    counts: bytes = encode(mask)["counts"]
    return counts.decode("ascii")
