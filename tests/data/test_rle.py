"""Run-length codes: the same as pycocotools', and safe whatever a file holds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from pycocotools import mask as pycoco

from p2seg.data import rle

masks = arrays(bool, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=40))


def runs_of(mask: np.ndarray) -> list[int]:
    """Column by column, the lengths of the runs, the first of zeros."""
    runs, current = [0], False
    for value in mask.T.reshape(-1):
        if value != current:
            runs.append(0)
            current = value
        runs[-1] += 1
    return runs


def decoded_runs(text: str) -> list[int]:
    """The run lengths of a compressed code; fails if it is none."""
    runs: list[int] = []
    digits: list[int] = []
    for character in text:
        unit = ord(character) - 48
        assert 0 <= unit < 64
        digits.append(unit & 31)
        if unit < 32:
            assert len(digits) <= 6
            run = sum(digit << 5 * k for k, digit in enumerate(digits))
            run -= (1 << 5 * len(digits)) * (digits[-1] >> 4)
            runs.append(run + (runs[-2] if len(runs) > 2 else 0))
            digits = []
    assert not digits
    return runs


@given(masks)
def test_a_mask_comes_back(mask: np.ndarray) -> None:
    code = rle.encode(mask)
    decoded = rle.decode(code)
    assert decoded.dtype == bool
    assert decoded.flags.c_contiguous
    np.testing.assert_array_equal(decoded, mask)
    assert rle.area(code) == mask.sum()
    ys, xs = np.nonzero(mask)
    expected = (
        [xs.min(), ys.min(), np.ptp(xs) + 1, np.ptp(ys) + 1] if len(xs) else [0.0, 0.0, 0.0, 0.0]
    )
    assert rle.box(code) == expected


@given(masks)
def test_both_kinds_of_counts_are_the_mask(mask: np.ndarray) -> None:
    height, width = mask.shape
    text = rle.encode(mask)["counts"].decode()
    compressed = rle.from_segmentation({"size": [height, width], "counts": text}, height, width)
    plain = rle.from_segmentation({"size": [height, width], "counts": runs_of(mask)}, height, width)
    np.testing.assert_array_equal(rle.decode(compressed), mask)
    np.testing.assert_array_equal(rle.decode(plain), mask)
    assert decoded_runs(text) == runs_of(mask)


def test_several_polygons_are_one_mask() -> None:
    polygons = [[1.5, 1, 6, 1.25, 6, 6], [10, 3, 14, 3, 14, 9, 10, 9], [2, 2, 5, 2, 5, 12]]
    code = rle.from_segmentation(polygons, 20, 30)
    expected = pycoco.decode(pycoco.frPyObjects(polygons, 20, 30)).any(2)
    assert 0 < expected.sum() < pycoco.area(pycoco.frPyObjects(polygons, 20, 30)).sum()
    np.testing.assert_array_equal(rle.decode(code), expected)


def test_no_polygon_is_an_empty_mask() -> None:
    assert rle.area(rle.from_segmentation([], 4, 5)) == 0


SIZE = {"size": [4, 5]}
BROKEN = {
    "nothing": (None, "neither polygons nor an RLE"),
    "a number": (3, "neither polygons nor an RLE"),
    "flat polygon": ([1, 2, 3, 4, 5, 6], "not a list of numbers"),
    "text polygon": ([["1", "2", "3", "4", "5", "6"]], "not a list of numbers"),
    "true in polygon": ([[True, 2, 3, 4, 5, 6]], "not a list of numbers"),
    "two points": ([[1, 1, 3, 3]], "has a polygon with 2 points"),
    "odd": ([[1, 1, 3, 3, 4, 4, 2]], "odd count"),
    "nan": ([[1, 1, 3, float("nan"), 4, 4]], "not finite"),
    "infinite": ([[1, 1, 3, float("inf"), 4, 4]], "not finite"),
    "far": ([[1, 1, 3, 1e9, 4, 4]], "far outside the image of 5x4"),
    "huge": ([[1, 1, 3, 10**400, 4, 4]], "too large"),
    "other size": ({"size": [5, 4], "counts": [20]}, r"size \[5, 4\]"),
    "no size": ({"counts": [20]}, "size None"),
    "no counts": (SIZE, "neither a string nor a list"),
    "short": (SIZE | {"counts": [19]}, "do not add up to 4 x 5"),
    "long": (SIZE | {"counts": [3, 18]}, "do not add up"),
    "negative": (SIZE | {"counts": [25, -5]}, "do not add up"),
    "huge count": (SIZE | {"counts": [10**30]}, "do not add up"),
    "counts of text": (SIZE | {"counts": ["20"]}, "neither a string nor a list"),
    "no code": (SIZE | {"counts": "~~"}, "not a compressed RLE"),
    "cut code": (SIZE | {"counts": "P"}, "not a compressed RLE"),
    "beyond ascii": (SIZE | {"counts": "\u00e4\ud800"}, "not a compressed RLE"),
    "endless number": (SIZE | {"counts": "ooooooooo0"}, "not a compressed RLE"),
    "empty code": (SIZE | {"counts": ""}, "do not add up"),
    "code of another size": (SIZE | {"counts": "0"}, "do not add up"),
}


@pytest.mark.parametrize(("segmentation", "reason"), BROKEN.values(), ids=BROKEN)
def test_a_broken_segmentation_is_refused(segmentation: object, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        rle.from_segmentation(segmentation, 4, 5)


@given(st.text(st.characters(min_codepoint=40, max_codepoint=120), max_size=12))
def test_any_text_is_refused_or_fills_the_image(text: str) -> None:
    try:
        code = rle.from_segmentation({"size": [4, 5], "counts": text}, 4, 5)
    except ValueError:
        return
    assert rle.decode(code).shape == (4, 5)


def test_a_code_is_accepted_if_it_fills_its_image() -> None:
    rng = np.random.default_rng(0)
    wrong = 0
    for _ in range(600):
        height, width = rng.integers(1, 30, 2).tolist()
        code = bytearray(rle.encode(rng.random((height, width)) < rng.random())["counts"])
        for _ in range(rng.integers(0, 3)):
            code[rng.integers(len(code))] = rng.integers(40, 120)
        try:
            runs = decoded_runs(code.decode())
            fills = min(runs) >= 0 and sum(runs) == height * width
        except AssertionError:
            fills = False
        segmentation = {"size": [height, width], "counts": code.decode()}
        if fills:
            assert rle.from_segmentation(segmentation, height, width)["counts"] == code
        else:
            wrong += 1
            with pytest.raises(ValueError, match=r"not a compressed RLE|do not add up"):
                rle.from_segmentation(segmentation, height, width)
    assert 100 < wrong < 500
