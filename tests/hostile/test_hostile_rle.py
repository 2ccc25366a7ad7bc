"""Hostile run-length codes and polygons, compared with a slow literal decoder."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2seg.data import rle

HEIGHT, WIDTH = 6, 8
SIZE = [HEIGHT, WIDTH]
PIXELS = HEIGHT * WIDTH


def coded(value: int, characters: int | None = None) -> str:
    """Returns one number of a compressed code, in the needed or requested number of characters."""
    text = ""
    while True:
        unit = value & 31
        value >>= 5
        done = value == (-1 if unit & 16 else 0)
        if characters is not None:
            done = len(text) + 1 == characters
        text += chr(48 + unit + (0 if done else 32))
        if done:
            return text


def compressed(runs: list[int]) -> str:
    """Returns COCO's compressed text of run lengths."""
    return "".join(coded(run - (runs[k - 2] if k > 2 else 0)) for k, run in enumerate(runs))


def literal(text: str) -> list[int]:
    """Decodes a compressed text character by character with Python integers."""
    runs: list[int] = []
    place = 0
    while place < len(text):
        value, shift, more = 0, 0, True
        while more:
            unit = ord(text[place]) - 48
            value |= (unit & 31) << shift
            shift += 5
            more = bool(unit & 32)
            place += 1
            if not more and unit & 16:
                value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
    return runs


def painted(runs: list[int]) -> np.ndarray:
    """Returns the mask of run lengths, pixel by pixel."""
    flat = [bool(k % 2) for k, run in enumerate(runs) for _ in range(run)]
    return np.array(flat, bool).reshape(WIDTH, HEIGHT).T


def long_difference() -> str:
    """Returns a difference of -16 in seven characters, which overflows pycocotools."""
    return coded(5) + coded(22) + coded(4) + coded(-16, 7) + coded(PIXELS - 37 - 4)


CODES: dict[str, Any] = {
    "nothing": {},
    "no counts": {"size": SIZE},
    "no size": {"counts": [PIXELS]},
    "sides exchanged": {"size": SIZE[::-1], "counts": [PIXELS]},
    "size of texts": {"size": ["6", "8"], "counts": [PIXELS]},
    "size of one": {"size": [PIXELS], "counts": [PIXELS]},
    "a negative size": {"size": [-6, -8], "counts": [PIXELS]},
    "a huge size": {"size": [2**31, 2**31], "counts": [2**62]},
    "a size of depth": {"size": [[[[6]]], 8], "counts": [PIXELS]},
    **{
        f"counts {name}": {"size": SIZE, "counts": counts}
        for name, counts in {
            "none": [],
            "too few": [PIXELS - 1],
            "too many": [PIXELS, 1],
            "negative": [PIXELS + 5, -5],
            "negative at the end": [-1, PIXELS + 1],
            "of 2^31": [2**31, PIXELS - 2**31],
            "of 2^32": [2**32 + PIXELS],
            "of 2^63": [2**63],
            "that wrap around": [2**64 - 1, PIXELS + 1],
            "of floats": [float(PIXELS)],
            "with NaN": [float("nan")],
            "with true": [PIXELS - 1, True],
            "of texts": [str(PIXELS)],
            "of lists": [[PIXELS]],
            "of null": [None],
            "a number": PIXELS,
            "an object": {"0": PIXELS},
            "a million ones": [1] * 10**6,
        }.items()
    },
    **{
        f"text {name}": {"size": SIZE, "counts": text}
        for name, text in {
            "empty": "",
            "too short": compressed([PIXELS - 1]),
            "too long": compressed([PIXELS, 1]),
            "negative": compressed([PIXELS + 5, -5]),
            "cut": compressed([PIXELS])[:-1],
            "without an end": "o" * 6,
            "of seven characters": long_difference(),
            "of a thousand characters": "o" * 1000 + "0",
            "of 2^29": compressed([2**29]),
            "of 2^31": coded(2**31, 7),
            "of 2^34": coded(2**34, 8),
            "below the letters": "/" + compressed([PIXELS]),
            "above the letters": "p" + compressed([PIXELS]),
            "with a zero byte": compressed([PIXELS]) + "\0",
            "zero byte first": "\0" + compressed([PIXELS]),
            "with a line end": compressed([PIXELS]) + "\n",
            "beyond ASCII": "é" + compressed([PIXELS]),
            "wide digits": "\uff11\uff10",
            "half a letter": "\ud800",
            "half letters alone": "\udfff" * 3,
            "ten million zeros": "0" * 10**7,
        }.items()
    },
}
POLYGONS: dict[str, Any] = {
    "two points": [[1, 1, 3, 3]],
    "one point": [[1, 1]],
    "an empty one": [[]],
    "odd": [[1, 1, 3, 3, 4, 4, 2]],
    "flat": [1, 1, 3, 3, 4, 4],
    "points as pairs": [[[1, 1], [3, 3], [4, 1]]],
    "texts": [["1", "1", "3", "3", "4", "1"]],
    "null": [[None] * 6],
    "true": [[True] * 6],
    "NaN": [[1, 1, 3, float("nan"), 4, 4]],
    "infinity": [[1, 1, 3, 1e999, 4, 4]],
    "minus infinity": [[1, 1, 3, -1e999, 4, 4]],
    "1e308": [[1, 1, 3, 1e308, 4, 4]],
    "10^400": [[1, 1, 3, 10**400, 4, 4]],
    "2^31": [[1, 1, 3, 2**31, 4, 4]],
    "2^31 in fifths": [[1, 1, 3, 2**31 / 5 + 1, 4, 4]],
    "far left": [[-1e6, 1, 3, 3, 4, 4]],
    "one good, one bad": [[1, 1, 3, 1, 3, 3], [1, 1]],
    "an object among them": [{"x": 1}],
    "a text": "1 1 3 3 4 1",
    "a number": 5,
    "null for all": None,
}
TABLES = {"run-length codes": CODES, "polygons": POLYGONS}


@pytest.mark.parametrize("name", CODES)
def test_invalid_codes_are_rejected(name):
    began = time.process_time()
    with pytest.raises(ValueError, match=r"RLE|segmentation") as caught:
        rle.from_segmentation(CODES[name], HEIGHT, WIDTH)
    assert len(str(caught.value)) < 300
    assert time.process_time() - began < 5


@pytest.mark.parametrize("name", POLYGONS)
def test_invalid_polygons_are_rejected(name):
    with pytest.raises(ValueError, match=r"polygon|segmentation"):
        rle.from_segmentation(POLYGONS[name], HEIGHT, WIDTH)


def test_a_code_that_overflows_pycocotools_is_rejected():
    """Its run lengths have the right sum only without the overflow."""
    assert sum(literal(long_difference())) == PIXELS


def test_a_polygon_of_a_million_points_takes_no_time_and_no_memory():
    rng = np.random.default_rng(0)
    zigzag = rng.uniform(0, 4000, 2 * 10**6).tolist()
    began = time.process_time()
    with pytest.raises(ValueError, match="outlines"):
        rle.from_segmentation([zigzag], 4000, 4000)
    circle = np.linspace(0, 2 * np.pi, 10**6)
    ring = np.stack([300 + 200 * np.cos(circle), 240 + 200 * np.sin(circle)], 1).ravel().tolist()
    area = rle.area(rle.from_segmentation([ring], 480, 640))
    assert abs(area - np.pi * 200**2) < 500
    assert time.process_time() - began < 10


def test_many_polygons_are_joined_in_time():
    squares = [
        [x, y, x + 1, y, x + 1, y + 1, x, y + 1] for x in range(0, 300, 2) for y in range(100)
    ]
    began = time.process_time()
    found = rle.decode(rle.from_segmentation(squares, 300, 300))
    assert time.process_time() - began < 10
    one_by_one = np.zeros((300, 300), bool)
    for square in squares[:500]:
        one_by_one |= rle.decode(rle.from_segmentation([square], 300, 300))
    assert (found & one_by_one).sum() == one_by_one.sum()


def test_an_empty_mask_of_the_largest_image_is_cheap():
    began = time.process_time()
    assert rle.area(rle.from_segmentation([], 1, rle.MAX_PIXELS)) == 0
    assert time.process_time() - began < 0.5


RUNS = st.lists(st.integers(0, PIXELS), min_size=1, max_size=12)


@given(RUNS)
def test_runs_equal_the_literal_decoder(runs):
    total = sum(runs)
    for counts in (runs, compressed(runs)):
        if isinstance(counts, str):
            assert literal(counts) == runs
        if total != PIXELS:
            with pytest.raises(ValueError, match="add up"):
                rle.from_segmentation({"size": SIZE, "counts": counts}, HEIGHT, WIDTH)
    whole = [*runs[:-1], runs[-1] + PIXELS - total]
    if whole[-1] < 0:
        return
    for counts in (whole, compressed(whole)):
        code = rle.from_segmentation({"size": SIZE, "counts": counts}, HEIGHT, WIDTH)
        assert (rle.decode(code) == painted(whole)).all()
        assert rle.area(code) == painted(whole).sum()


NUMBERS = st.tuples(st.integers(-PIXELS, 2 * PIXELS), st.integers(1, 9))


@settings(max_examples=300)
@given(
    st.lists(NUMBERS, min_size=1, max_size=8) | st.text(st.characters(codec="ascii"), max_size=9)
)
def test_any_code_is_rejected_or_decoded_correctly(content):
    text = content
    if not isinstance(content, str):
        text = "".join(coded(value, characters) for value, characters in content)
    try:
        code = rle.from_segmentation({"size": SIZE, "counts": text}, HEIGHT, WIDTH)
    except ValueError:
        return
    assert (rle.decode(code) == painted(literal(text))).all()


COORDINATES = st.floats(-60, 60, allow_nan=False) | st.integers(-60, 60)


@given(st.lists(st.lists(COORDINATES, min_size=6, max_size=12), min_size=1, max_size=4))
def test_any_polygon_is_rejected_or_inside_its_image(polygons):
    try:
        code = rle.from_segmentation(polygons, HEIGHT, WIDTH)
    except ValueError:
        return
    assert rle.decode(code).shape == (HEIGHT, WIDTH)
    assert rle.area(code) <= PIXELS
