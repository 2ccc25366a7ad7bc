"""Vectorized checks of one chunk of annotations.

A chunk with anything irregular is left to the checks of single annotations, which name the
annotation and what is wrong with it.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from p2seg.data import dialects
from p2seg.data import rle as codec
from p2seg.data.coco_reader import Chunk
from p2seg.data.compact_lists import Array
from p2seg.data.instances import BITS, CROWD, DEFAULT_BOX, FROM_SEED, REJECTED, Columns

Floats = NDArray[np.float64]
NUMBERS = frozenset({int, float})


def is_odd(chunk: Chunk) -> bool:
    """Whether a mask of a chunk is in a form that only looks regular."""
    return any(
        dialects.is_odd(content, height, width)
        for content, (height, width) in zip(chunk.contents, chunk.sides.tolist(), strict=True)
    )


def repaired_chunk(chunk: Chunk) -> Chunk:
    """A chunk with its masks converted to polygons or RLE where possible."""
    contents = [
        dialects.repaired(content, (height, width), chunk.notes)
        for content, (height, width) in zip(chunk.contents, chunk.sides.tolist(), strict=True)
    ]
    return replace(chunk, contents=contents)


def add_regular(columns: Columns, chunk: Chunk) -> bool:
    """Appends the instances of a chunk if all of them are regular.

    Args:
        columns: of the instances before.
        chunk: the annotations.

    Returns:
        Whether they were appended; if not, `columns` is unchanged.
    """
    contents = chunk.contents
    scores = numbers_of([each.get("score", 1.0) for each in contents])
    crowds, boxes, seeds = (
        _flags(contents, key) for key in ("iscrowd", "default_box", "from_seed")
    )
    yx = _points(chunk)
    if scores is None or not (scores >= 0).all() or not (scores <= 1).all():
        return False
    verdicts = _verdicts(contents)
    if crowds is None or boxes is None or seeds is None or yx is None or verdicts is None:
        return False
    brushed = 0
    for place in np.flatnonzero(crowds).tolist():
        if dialects.is_brush_mask(contents[place]):
            crowds[place] = 0
            brushed += 1
    crowds |= (verdicts & REJECTED > 0).astype(np.uint8)
    segmentations = [each.get("segmentation") for each in contents]
    codes = _codes(segmentations, chunk.sides)
    polygons = _polygons([each if type(each) is list else [] for each in segmentations], chunk)
    if codes is None or polygons is None:
        return False
    chunk.notes[dialects.CVAT] += brushed
    columns.scores.add(scores)
    columns.flags.add(crowds * CROWD + boxes * DEFAULT_BOX + seeds * FROM_SEED + verdicts)
    columns.yx.add(yx)
    columns.codes.add(codes[0])
    columns.code_lengths.add(codes[1])
    for column, values in zip(
        (columns.polygon_counts, columns.number_counts, columns.numbers), polygons, strict=True
    ):
        column.add(values)
    return True


def points_inside(values: list[Any], sides: NDArray[np.int64]) -> Floats | None:
    """(y, x) of points `[x, y]`; None if one is irregular or outside its image.

    Args:
        values: N JSON values.
        sides: `[N, 2]`, (height, width) of the image of each.

    Returns:
        `[N, 2]` float64.
    """
    if set(map(type, values)) - {list} or set(map(len, values)) - {2}:
        return None
    numbers = numbers_of(list(chain.from_iterable(values)))
    if numbers is None:
        return None
    yx: Floats = numbers.reshape(-1, 2)[:, ::-1]
    return yx if ((yx >= 0) & (yx < sides)).all() else None


def numbers_of(values: list[Any]) -> Floats | None:
    """Numbers as float64; None if a value is not a number, or is beyond int64."""
    if set(map(type, values)) - NUMBERS:
        return None
    try:
        array = np.array(values, np.float64)
    except OverflowError:
        return None
    return array if not len(array) or np.abs(array).max() < 2**63 else None


def _flags(contents: list[dict[str, Any]], key: str) -> NDArray[np.uint8] | None:
    values = [each.get(key, 0) for each in contents]
    if set(map(type, values)) - {int, bool} or set(values) - {0, 1}:
        return None
    return np.array(values, np.uint8)


def _verdicts(contents: list[dict[str, Any]]) -> NDArray[np.uint8] | None:
    values = [each.get("review", "") for each in contents]
    if set(map(type, values)) - {str} or set(values) - BITS.keys():
        return None
    return np.array([BITS[each] for each in values], np.uint8)


def _points(chunk: Chunk) -> Floats | None:
    """`[N, 2]` (y, x); NaN if there is no point."""
    values = [each.get("point") for each in chunk.contents]
    given = np.array([each is not None for each in values], bool)
    yx = np.full((len(values), 2), np.nan)
    if given.any():
        inside = points_inside([each for each in values if each is not None], chunk.sides[given])
        if inside is None:
            return None
        yx[given] = inside
    return yx


def _codes(segmentations: list[Any], sides: NDArray[np.int64]) -> tuple[Array, Array] | None:
    """Characters of all codes, and the length of each; 0 for polygons."""
    codes = []
    for segmentation, (height, width) in zip(segmentations, sides.tolist(), strict=True):
        if type(segmentation) is list:
            codes.append(b"")
            continue
        if type(segmentation) is not dict:
            return None
        counts = segmentation.get("counts")
        if type(counts) is str:
            if segmentation.get("size") != [height, width] or not counts or not counts.isascii():
                return None
            codes.append(counts.encode())
        else:
            try:
                codes.append(codec.from_segmentation(segmentation, height, width)["counts"])
            except ValueError:
                return None
    lengths = np.array(list(map(len, codes)), np.int64)
    text = np.frombuffer(b"".join(codes), np.int8)
    coded = lengths > 0
    ends = np.concatenate([[0], np.cumsum(lengths[coded])])
    if codec.first_wrong(text, ends, sides[coded].prod(1)) >= 0:
        return None
    return text.view(np.uint8), lengths


def _polygons(polygons: list[list[Any]], chunk: Chunk) -> tuple[Array, Array, Array] | None:
    """Polygons per annotation, numbers per polygon, and the numbers."""
    counts = np.array(list(map(len, polygons)), np.int64)
    every = list(chain.from_iterable(polygons))
    if set(map(type, every)) - {list}:
        return None
    lengths = np.array(list(map(len, every)), np.int64)
    if (lengths < 6).any() or (lengths % 2).any():
        return None
    numbers = numbers_of(list(chain.from_iterable(every)))
    if numbers is None:
        return None
    if len(every):
        starts = np.cumsum(lengths) - lengths
        far = np.repeat(np.minimum(codec.FAR * chunk.sides.max(1), codec.FARTHEST), counts)
        # NaN makes both comparisons false
        near = (np.minimum.reduceat(numbers, starts) >= -far) & (
            np.maximum.reduceat(numbers, starts) <= far
        )
        steps = np.zeros(len(numbers))
        steps[2:] = np.abs(numbers[2:] - numbers[:-2])
        steps[np.concatenate([starts, starts + 1])] = 0  # steps from one polygon to the next
        owners = np.repeat(np.arange(len(counts)), counts)
        outlines = np.bincount(owners, np.add.reduceat(steps, starts))
        if not near.all() or outlines.max() > codec.LONGEST_OUTLINE:
            return None
    return counts, lengths, numbers
