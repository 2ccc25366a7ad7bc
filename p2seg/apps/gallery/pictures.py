"""What is seen of an image: the picture, its thumbnail, and every mask's surroundings."""

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
"""Long side of the picture at most, pixels."""
SMALL = 256
"""Long side of a thumbnail, pixels."""
CELL = 192
"""Side of a mask's crop as it is stored, pixels."""
AROUND = 1.5
"""Side of a crop in sides of the mask's box."""
LEAST = 40
"""Side of a crop at least, pixels of the image."""
SHEET = 16
"""Crops on one sheet at most; a sheet is four wide."""
BLANK = (24, 22, 20)
"""Blue, green, red of what lies beyond an image: the page's ground."""
QUALITY = 82

Crop = tuple[int, int, int]
"""Top, left and side of a square of the image, pixels; it may leave the image."""


def shown(image: Picture) -> Picture:
    """The image as the page shows it large: at most `LARGE` pixels long."""
    return fit(image, LARGE) if max(image.shape[:2]) > LARGE else image


def thumbnail(picture: Picture) -> Picture:
    """A small picture; one that is small is left as it is."""
    return fit(picture, SMALL) if max(picture.shape[:2]) > SMALL else picture


def jpeg(picture: Picture) -> bytes:
    """The picture as JPEG."""
    options = [cv2.IMWRITE_JPEG_QUALITY, QUALITY, cv2.IMWRITE_JPEG_OPTIMIZE, 1]
    return cv2.imencode(".jpg", picture[:, :, ::-1], options)[1].tobytes()


def crop_of(tight: Tight, point: tuple[float, float] | None, size: tuple[int, int]) -> Crop:
    """The square around a mask and its click, moved into the image as far as it fits.

    Args:
        tight: the mask.
        point: (y, x) of the click, pixels.
        size: (height, width) of the image.
    """
    bottom, right = tight.top + tight.mask.shape[0], tight.left + tight.mask.shape[1]
    top, left = tight.top, tight.left
    if point is not None:
        y, x = math.floor(point[0]), math.floor(point[1])
        if not tight.mask.size:
            top, left, bottom, right = y, x, y + 1, x + 1
        top, left, bottom, right = min(top, y), min(left, x), max(bottom, y + 1), max(right, x + 1)
    side = max(LEAST, math.ceil(AROUND * max(bottom - top, right - left)))
    side = min(side, max(bottom - top, right - left, *size))
    return _moved((top + bottom - side) // 2, side, size[0]), *_placed(left, right, side, size[1])


def _placed(left: int, right: int, side: int, width: int) -> tuple[int, int]:
    return _moved((left + right - side) // 2, side, width), side


def _moved(start: int, side: int, length: int) -> int:
    """The start of a stretch brought inside; one that is too long is put in the middle."""
    if side >= length:
        return (length - side) // 2
    return max(0, min(start, length - side))


def sheets(image: Picture, crops: Sequence[Crop]) -> list[Picture]:
    """The crops as cells of sheets: four in a row, as the page reads them.

    Args:
        image: `[H, W, 3]`.
        crops: of it.

    Returns:
        Sheets of `SHEET` cells, the last one of the rest; as wide as it has cells, four at most.
    """
    cells = [_cell(image, crop) for crop in crops]
    made = []
    for start in range(0, len(cells), SHEET):
        own = cells[start : start + SHEET]
        columns = min(4, len(own))
        own += [np.zeros_like(own[0])] * (-len(own) % columns)
        rows = [np.concatenate(own[k : k + columns], 1) for k in range(0, len(own), columns)]
        made.append(np.concatenate(rows))
    return made


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
    """A mask as the path of an SVG, in pixels of its crop's cell.

    Points are whole numbers, relative but for the first of each ring; `fill-rule` is `evenodd`.
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
    # a minus sign parts two numbers as well as a space does
    moves = "".join(f"{'' if n < 0 or k == 0 else ' '}{n}" for k, n in enumerate(steps))
    return f"M{x} {y}" + (f"l{moves}" if moves else "h1") + "z"


def codes_at(labels: NDArray[Any], values: Sequence[int], size: tuple[int, int]) -> list[str]:
    """Run-length codes of some labels of a map, brought to the picture's size.

    Args:
        labels: `[H, W]`.
        values: the labels.
        size: (height, width) of the picture.

    Returns:
        COCO's compressed counts of each, empty where a label has no pixel.
    """
    rows, columns = (
        ((np.arange(small) + 0.5) * large / small).astype(int)
        for small, large in zip(size, labels.shape, strict=True)
    )
    small = labels[rows[:, None], columns]
    present = set(np.unique(small).tolist())
    return [code_of(small == value) if value in present else "" for value in values]


def code_of(mask: Mask) -> str:
    """COCO's compressed counts of a mask."""
    counts: bytes = encode(mask)["counts"]
    return counts.decode("ascii")
