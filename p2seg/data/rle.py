"""Masks as COCO's run-length codes: checked on the way in, since pycocotools itself checks nothing.

A code that does not fill its image makes pycocotools read or write memory that is not its own, so
everything that comes from a file passes through `from_segmentation`.
"""

from __future__ import annotations

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
        segmentation: a list of polygons `[x0, y0, x1, y1, ...]` in pixels (no polygon: an empty
            mask), or `{"size": [height, width], "counts": list or str}`.
        height: of the image, pixels.
        width: of the image, pixels.

    Returns:
        `{"size": [height, width], "counts": bytes}`, compressed.

    Raises:
        ValueError: with what is wrong, to follow "annotation 5 of image a.jpg".
    """
    if isinstance(segmentation, list):
        return _from_polygons(segmentation, height, width)
    if not isinstance(segmentation, dict):
        raise ValueError("has a segmentation that is neither polygons nor an RLE")
    size, counts = segmentation.get("size"), segmentation.get("counts")
    if size != [height, width]:
        raise ValueError(
            f"has an RLE of size {shown(size)}; its image is [{height}, {width}] (height, width)"
        )
    if isinstance(counts, str):
        runs = _runs_of_text(counts)
    elif isinstance(counts, list) and set(map(type, counts)) <= {int}:
        runs = _array(counts, np.int64)
    else:
        raise ValueError("has RLE counts that are neither a string nor a list of whole numbers")
    if (runs < 0).any() or (runs > MAX_PIXELS).any() or runs.sum() != height * width:
        raise ValueError(
            f"has RLE counts that do not add up to {height} x {width} pixels; write them anew"
        )
    if isinstance(counts, str):
        return {"size": [height, width], "counts": counts.encode()}
    uncompressed = {"size": [height, width], "counts": counts}
    return one(codec.frPyObjects(uncompressed, height, width))


def _from_polygons(polygons: list[Any], height: int, width: int) -> dict[str, Any]:
    far = min(FAR * max(height, width), FARTHEST)
    arrays = []
    outline = 0.0
    for polygon in polygons:
        if not isinstance(polygon, list) or not set(map(type, polygon)) <= {int, float}:
            raise ValueError("has a polygon that is not a list of numbers x0, y0, x1, y1, ...")
        if len(polygon) < 6:
            raise ValueError(f"has a polygon with {len(polygon) // 2} points; it needs 3 or more")
        if len(polygon) % 2:
            raise ValueError(
                f"has a polygon with an odd count of numbers ({len(polygon)}); they are x, y pairs"
            )
        array = _array(polygon, np.float64)
        if not np.isfinite(array).all():
            raise ValueError("has a polygon with a number that is not finite")
        if array.min() < -far or array.max() > far:
            raise ValueError(f"has a polygon far outside the image of {width}x{height}")
        arrays.append(array)
        outline += float(np.abs(np.diff(array.reshape(-1, 2), axis=0)).sum())
    if outline > LONGEST_OUTLINE:
        raise ValueError(f"has polygons with outlines of {outline:.3g} pixels; simplify them")
    return drawn(arrays, height, width)


def drawn(polygons: list[NDArray[np.float64]], height: int, width: int) -> dict[str, Any]:
    """The run-length code of polygons.

    Args:
        polygons: each `x0, y0, x1, y1, ...` in pixels, at least 6 finite numbers; none: an empty
            mask.
        height: of the image, pixels.
        width: of the image, pixels.

    Returns:
        `{"size": [height, width], "counts": bytes}`, compressed.
    """
    if not polygons:
        return one(codec.frPyObjects({"size": [height, width], "counts": [height * width]}, 0, 0))
    codes = codec.frPyObjects(polygons, height, width)
    while len(codes) > 1:
        codes = [codec.merge(codes[i : i + MERGED]) for i in range(0, len(codes), MERGED)]
    return one(codes[0])


@compiled
def first_wrong(text: NDArray[Any], ends: NDArray[Any], pixels: NDArray[Any]) -> int:
    """The first of many compressed codes that is none, or does not fill its image; -1: none.

    What `from_segmentation` refuses, for a million codes in a second.

    Args:
        text: int8, the codes' characters, one after the other.
        ends: where each code begins, and where the last one ends.
        pixels: of each code's image.
    """
    for k in range(len(pixels)):
        at, end = ends[k], ends[k + 1]
        total, place, last, before = 0, 0, 0, 0
        while at < end:
            run, shift, more = 0, 0, True
            while more:
                unit = text[at] - 48 if at < end else -1
                if unit < 0 or unit > 63 or shift >= 5 * LONGEST_CODE:
                    return k
                run |= (unit & 31) << shift
                more = unit >= 32
                shift += 5
                at += 1
            if unit & 16:
                run -= 1 << shift
            run += before if place > 2 else 0
            if run < 0 or run > MAX_PIXELS:
                return k
            last, before = run, last
            total += run
            place += 1
        if total != pixels[k]:
            return k
    return -1


def _array(numbers: list[Any], dtype: type[np.generic]) -> NDArray[Any]:
    try:
        return np.array(numbers, dtype)
    except OverflowError as error:
        raise ValueError("has a segmentation with a number that is too large") from error


def _runs_of_text(text: str) -> NDArray[np.int64]:
    """The run lengths of a compressed code: base-32 digits, then differences to the last but one.

    Each character holds 5 bits, lowest first, and a bit that says another one follows; the last
    one's bit 4 is the sign.
    """
    if not text.isascii():
        raise ValueError("has RLE counts that are no compressed code; write them anew")
    units = np.frombuffer(text.encode(), np.uint8).astype(np.int64) - 48
    if not len(units):
        return units
    ends = np.flatnonzero(units < 32)
    if units.min() < 0 or units.max() > 63 or units[-1] >= 32:
        raise ValueError("has RLE counts that are no compressed code; write them anew")
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    if lengths.max() > LONGEST_CODE:
        raise ValueError("has RLE counts that are no compressed code; write them anew")
    places = np.arange(len(units)) - np.repeat(starts, lengths)
    runs = np.add.reduceat((units & 31) << (5 * places), starts)
    runs -= np.where(units[ends] & 16, 1 << (5 * lengths), 0)
    runs[1::2] = np.cumsum(runs[1::2])
    runs[2::2] = np.cumsum(runs[2::2])
    return runs
