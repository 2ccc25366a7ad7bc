"""Masks as COCO's run-length encoding (RLE), checked before pycocotools decodes them.

pycocotools checks nothing: an RLE that does not fill its image makes it read or write memory out of
bounds. So every mask from a file passes through `check_segmentation`.
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
"""Most pixels of an image; larger images are rejected from their header (Pillow's own limit)."""
LONGEST_CODE = 6
"""Most characters of one run length; pycocotools' bit shifts overflow from 7 on."""
FAR = 10.0
"""A polygon further outside its image than this many image sides is an error."""
FARTHEST = 1e8
"""A polygon further outside its image than this many pixels is an error, to fit 32 bits."""
LONGEST_OUTLINE = 1e7
"""Longest outline of the polygons of an annotation, pixels; each pixel takes 80 bytes."""
NO_CODE, WRONG_RUN = -1, -2
"""Error codes that replace the number of pixels of a compressed RLE."""
Mask = bytes | list[list[float]]
"""The counts of a compressed RLE, or polygons `[x0, y0, x1, y1, ...]` in pixels."""
MERGED = 32
"""Polygons per call of pycocotools' merge, whose time grows with the square of their number."""


def encode(mask: NDArray[Any]) -> dict[str, Any]:
    """The RLE of a mask.

    Args:
        mask: `[H, W]`, any type; values that are not zero belong to the mask.

    Returns:
        `{"size": [H, W], "counts": bytes}`, compressed.
    """
    return plain(codec.encode(np.asfortranarray(np.asarray(mask) != 0, dtype=np.uint8)))


def decode(rle: dict[str, Any]) -> NDArray[np.bool_]:
    """The mask of an RLE, `[H, W]` bool."""
    mask: NDArray[np.bool_] = np.ascontiguousarray(codec.decode(rle)).view(bool)
    return mask


def area(rle: dict[str, Any]) -> int:
    """The number of pixels of a mask."""
    return int(codec.area(rle))


def iou(a: dict[str, Any], b: dict[str, Any]) -> float:
    """Intersection over union of two masks of one image; 0 if both are empty."""
    return float(codec.iou([a], [b], [0])[0, 0])


def iou_matrix(first: list[dict[str, Any]], second: list[dict[str, Any]]) -> NDArray[np.float64]:
    """IoU of each mask of one list with each mask of another, `[A, B]`; 0 for empty masks."""
    if not first or not second:
        return np.zeros((len(first), len(second)))
    matrix = np.asarray(codec.iou(first, second, [0] * len(second)), np.float64)
    return np.nan_to_num(matrix)


def box(rle: dict[str, Any]) -> list[float]:
    """The bounding box `[x, y, width, height]` of a mask in pixels; zeros for an empty mask."""
    return [float(value) for value in codec.toBbox(rle)]


def plain(rle: Any) -> dict[str, Any]:
    """An RLE of pycocotools in Python's own types: `size` as two ints, `counts` as bytes."""
    return {"size": [int(side) for side in rle["size"]], "counts": bytes(rle["counts"])}


def from_segmentation(segmentation: Any, height: int, width: int) -> dict[str, Any]:
    """The RLE of a COCO `segmentation`: polygons, uncompressed or compressed RLE.

    Args:
        segmentation: as in `check_segmentation`.
        height: height of the image, pixels.
        width: width of the image, pixels.

    Returns:
        `{"size": [height, width], "counts": bytes}`, compressed.

    Raises:
        ValueError: as in `check_segmentation`.
    """
    return rasterize(check_segmentation(segmentation, height, width), height, width)


def check_segmentation(segmentation: Any, height: int, width: int) -> Mask:
    """The checked polygons or RLE counts of a COCO `segmentation`.

    Args:
        segmentation: a list of polygons `[x0, y0, x1, y1, ...]` in pixels (no polygon: an empty
            mask), or `{"size": [height, width], "counts": list or str}`.
        height: height of the image, pixels.
        width: width of the image, pixels.

    Raises:
        ValueError: the segmentation is invalid; the message starts with "has", so that it can
            follow "annotation 5 of image a.jpg".
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
            raise ValueError("has RLE counts that are not a compressed RLE; write them again")
    elif isinstance(counts, list) and set(map(type, counts)) <= {int}:
        pixels = sum(counts) if min(counts, default=0) >= 0 else WRONG_RUN
    else:
        raise ValueError("has RLE counts that are neither a string nor a list of integers")
    if pixels != height * width:
        raise ValueError(
            f"has RLE counts that do not add up to {height} x {width} pixels; write them again"
        )
    if isinstance(counts, str):
        return counts.encode()
    uncompressed = {"size": [height, width], "counts": counts}
    return bytes(codec.frPyObjects(uncompressed, height, width)["counts"])


def _check_polygons(polygons: list[Any], height: int, width: int) -> None:
    far = min(FAR * max(height, width), FARTHEST)
    bound = 0.0  # upper bound of the length of the outlines
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
        bound += (high - low) * len(polygon)
    if bound > LONGEST_OUTLINE:
        corners = (np.array(polygon, np.float64).reshape(-1, 2) for polygon in polygons)
        outline = sum(float(np.abs(np.diff(each, axis=0)).sum()) for each in corners)
        if outline > LONGEST_OUTLINE:
            raise ValueError(f"has polygons with outlines of {outline:.3g} pixels; simplify them")


def rasterize(mask: Mask, height: int, width: int) -> dict[str, Any]:
    """The RLE of a checked mask.

    Args:
        mask: the counts of a compressed RLE, or polygons; no polygon: an empty mask.
        height: height of the image, pixels.
        width: width of the image, pixels.

    Returns:
        `{"size": [height, width], "counts": bytes}`, compressed.
    """
    if isinstance(mask, bytes):
        return {"size": [height, width], "counts": mask}
    if not mask:
        return plain(codec.frPyObjects({"size": [height, width], "counts": [height * width]}, 0, 0))
    codes = codec.frPyObjects(mask, height, width)
    while len(codes) > 1:
        codes = [codec.merge(codes[i : i + MERGED]) for i in range(0, len(codes), MERGED)]
    return plain(codes[0])


@compiled
def _pixels(text: NDArray[Any]) -> int:
    """The number of pixels of a compressed RLE; `NO_CODE` or `WRONG_RUN` if it is invalid.

    The counts are base-32 numbers. From the fourth number on, each is the difference to the number
    two places before it. A character holds 5 bits, the lowest bits first, and a bit that is set if
    another character follows. Bit 4 of the last character is the sign.

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
