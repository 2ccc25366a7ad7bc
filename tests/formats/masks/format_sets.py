"""Masks, instances and a slow rasteriser for the tests of the formats."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from p2seg.data.coco import Category, ImageRecord, Instance, encode

CATEGORIES = [Category(10, "red"), Category(20, 'blé: "x"')]


def mask_of(text):
    """`"11. .1."`: a row a word, 1 of the mask."""
    return np.array([[letter == "1" for letter in row] for row in text.split()])


def instance(mask, label=1, score=0.9, id=1):
    return Instance(id=id, label=label, rle=encode(mask), score=score)


def record(mask, name="a.jpg"):
    return ImageRecord(1, name, *mask.shape)


def raster(rings, height, width):
    """The pixels whose center is inside an odd number of rings of (x, y), one after the other."""
    inside = np.zeros((height, width), dtype=bool)
    for ring in rings:
        for k in range(len(ring)):
            (x0, y0), (x1, y1) = np.asarray(ring[k - 1], float), np.asarray(ring[k], float)
            for row in range(height):
                y = row + 0.5
                if (y0 > y) == (y1 > y):
                    continue
                crossing = x0 + (y - y0) / (y1 - y0) * (x1 - x0)
                for column in range(width):
                    inside[row, column] ^= crossing > column + 0.5
    return inside


@st.composite
def masks(draw):
    """Masks up to 9 x 9, from specks to full ones."""
    height, width = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    bits = draw(st.lists(st.booleans(), min_size=height * width, max_size=height * width))
    return np.array(bits).reshape(height, width)
