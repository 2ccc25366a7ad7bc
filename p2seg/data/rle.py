"""Masks as COCO's run-length codes: checked on the way in, since pycocotools itself checks nothing.

A code that does not fill its image makes pycocotools read or write memory that is not its own, so
everything that comes from a file passes through `from_segmentation`.
"""

from __future__ import annotations

from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as codec

from p2seg.errors import shown
from p2seg.ops._kernels import compiled

MAX_PIXELS = 178_956_970
"""Pixels beyond which an image is refused unread (Pillow's own limit against bombs)."""
LONGEST_CODE = 6
"""Characters of a run length of such an image; pycocotools' shifts overflow from 7 on."""
FAR = 10.0
"""A polygon further outside its image than this many image sides is taken for a mistake."""
FARTHEST = 1e8
"""And further than this many pixels: five times as many must fit 32 bits."""
LONGEST_OUTLINE = 1e7
"""Pixels along an annotation's polygons; painting them takes 80 bytes each."""
NO_CODE, WRONG_RUN = -1, -2
"""Faults of a compressed code, in place of its number of pixels."""
Mask = bytes | list[list[float]]
"""A compressed code, or polygons `[x0, y0, x1, y1, ...]` in pixels."""
MERGED = 32
"""Polygons that are joined at once: each step goes through all that was joined before."""


def encode(mask: NDArray[Any]) -> dict[str, Any]:
    """The run-length code of a mask.

    Args:
        mask: `[H, W]`, any type; what is not zero belongs to the mask.

    Returns:
        `{"size": [H, W], "counts": bytes}`, compressed.
    """
    return one(codec.encode(np.asfortranarray(np.asarray(mask) != 0, dtype=np.uint8)))


def decode(rle: dict[str, Any]) -> NDArray[np.bool_]:
    """The mask of a run-length code, `[H, W]` bool."""
    mask: NDArray[np.bool_] = np.ascontiguousarray(codec.decode(rle)).view(bool)
    return mask


def area(rle: dict[str, Any]) -> int:
    """The number of pixels of a mask."""
    return int(codec.area(rle))


def iou(a: dict[str, Any], b: dict[str, Any]) -> float:
    """Intersection over union of two masks of one image, 0 where both are empty."""
    return float(codec.iou([a], [b], [0])[0, 0])


def iou_matrix(first: list[dict[str, Any]], second: list[dict[str, Any]]) -> NDArray[np.float64]:
    """IoU of every mask of one list with every mask of another, `[A, B]`; 0 of empty masks."""
    if not first or not second:
        return np.zeros((len(first), len(second)))
    matrix = np.asarray(codec.iou(first, second, [0] * len(second)), np.float64)
    return np.nan_to_num(matrix)


def box(rle: dict[str, Any]) -> list[float]:
    """The tight box `[x, y, width, height]` of a mask in pixels; zeros for an empty one."""
    return [float(value) for value in codec.toBbox(rle)]


def one(rle: Any) -> dict[str, Any]:
    """The code as plain python: `size` a list of two ints, `counts` bytes."""
    return {"size": [int(side) for side in rle["size"]], "counts": bytes(rle["counts"])}


def from_segmentation(segmentation: Any, height: int, width: int) -> dict[str, Any]:
    """The run-length code of a COCO `segmentation`: polygons, uncompressed or compressed RLE.

    Args:
        segmentation: as for `checked`.
        height: of the image, pixels.
        width: of the image, pixels.

    Returns:
        `{"size": [height, width], "counts": bytes}`, compressed.

    Raises:
        ValueError: as `checked`.
    """
    return drawn(checked(segmentation, height, width), height, width)


def checked(segmentation: Any, height: int, width: int) -> Mask:
    """The polygons or the compressed code of a COCO `segmentation`.

    Args:
        segmentation: a list of polygons `[x0, y0, x1, y1, ...]` in pixels (no polygon: an empty
            mask), or `{"size": [height, width], "counts": list or str}`.
        height: of the image, pixels.
        width: of the image, pixels.

    Raises:
        ValueError: what is wrong, to follow "annotation 5 of image a.jpg".
    """
    if isinstance(segmentation, list):
        _check_polygons(segmentation, height, width)
        return segmentation
    if not isinstance(segmentation, dict):
        raise ValueError("has a segmentation that is neither polygons nor an RLE")
    size, counts = segmentation.get("size"), segmentation.get("counts")
    if size != [height, width]:
        raise ValueError(
            f"has an RLE of size {shown(size)}; its image is [{height}, {width}] (height, width)"
        )
    if isinstance(counts, str):
        pixels = _pixels(np.frombuffer(counts.encode(), np.int8)) if counts.isascii() else NO_CODE
        if pixels == NO_CODE:
            raise ValueError("has RLE counts that are no compressed code; write them anew")
    elif isinstance(counts, list) and set(map(type, counts)) <= {int}:
        pixels = sum(counts) if min(counts, default=0) >= 0 else WRONG_RUN
    else:
        raise ValueError("has RLE counts that are neither a string nor a list of whole numbers")
    if pixels != height * width:
        raise ValueError(
            f"has RLE counts that do not add up to {height} x {width} pixels; write them anew"
        )
    if isinstance(counts, str):
        return counts.encode()
    uncompressed = {"size": [height, width], "counts": counts}
    return bytes(codec.frPyObjects(uncompressed, height, width)["counts"])


def _check_polygons(polygons: list[Any], height: int, width: int) -> None:
    far = min(FAR * max(height, width), FARTHEST)
    most = 0.0  # the outline is no longer
    for polygon in polygons:
        if not isinstance(polygon, list) or not set(map(type, polygon)) <= {int, float}:
            raise ValueError("has a polygon that is not a list of numbers x0, y0, x1, y1, ...")
        if len(polygon) < 6:
            raise ValueError(f"has a polygon with {len(polygon) // 2} points; it needs 3 or more")
        if len(polygon) % 2:
            raise ValueError(
                f"has a polygon with an odd count of numbers ({len(polygon)}); they are x, y pairs"
            )
        try:
            finite = all(map(isfinite, polygon))
        except OverflowError as error:
            raise ValueError("has a segmentation with a number that is too large") from error
        if not finite:
            raise ValueError("has a polygon with a number that is not finite")
        low, high = min(polygon), max(polygon)
        if low < -far or high > far:
            raise ValueError(f"has a polygon far outside the image of {width}x{height}")
        most += (high - low) * len(polygon)
    if most > LONGEST_OUTLINE:
        corners = (np.array(polygon, np.float64).reshape(-1, 2) for polygon in polygons)
        outline = sum(float(np.abs(np.diff(each, axis=0)).sum()) for each in corners)
        if outline > LONGEST_OUTLINE:
            raise ValueError(f"has polygons with outlines of {outline:.3g} pixels; simplify them")


def drawn(mask: Mask, height: int, width: int) -> dict[str, Any]:
    """The run-length code of a checked mask.

    Args:
        mask: a compressed code, or polygons; no polygon: an empty mask.
        height: of the image, pixels.
        width: of the image, pixels.

    Returns:
        `{"size": [height, width], "counts": bytes}`, compressed.
    """
    if isinstance(mask, bytes):
        return {"size": [height, width], "counts": mask}
    if not mask:
        return one(codec.frPyObjects({"size": [height, width], "counts": [height * width]}, 0, 0))
    codes = codec.frPyObjects(mask, height, width)
    while len(codes) > 1:
        codes = [codec.merge(codes[i : i + MERGED]) for i in range(0, len(codes), MERGED)]
    return one(codes[0])


@compiled
def _pixels(text: NDArray[Any]) -> int:
    """The number of pixels of a compressed code; `NO_CODE` or `WRONG_RUN` if it is invalid.

    A code is a list of base-32 numbers. From the fourth number on, each is the difference to the
    last but one. A character holds 5 bits, the lowest ones first, and a bit that says that another
    character follows. Bit 4 of the last character is the sign.

    Args:
        text: int8, the characters.
    """
    total, place, last, before, wrong, at = 0, 0, 0, 0, False, 0
    while at < len(text):
        run, shift, more = 0, 0, True
        while more:
            unit = text[at] - 48 if at < len(text) else -1
            if unit < 0 or unit > 63 or shift >= 5 * LONGEST_CODE:
                return NO_CODE
            run |= (unit & 31) << shift
            more = unit >= 32
            shift += 5
            at += 1
        if unit & 16:
            run -= 1 << shift
        run += before if place > 2 else 0
        wrong |= run < 0 or run > MAX_PIXELS
        last, before = run, last
        total += run
        place += 1
    return WRONG_RUN if wrong else total
