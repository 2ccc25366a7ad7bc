"""Roundness: discs and ovals are round, crosses are not, few regions say nothing."""

from __future__ import annotations

import numpy as np
import pytest
from strategies import points_of

from p2seg.semantic.roundness import ROUND, roundness


def tiles(shape, count=12):
    """A map with `count` copies of a shape in tiles of 30 x 30, one click in each."""
    semantic = np.zeros((30, 30 * count), np.uint8)
    for k in range(count):
        semantic[:, 30 * k : 30 * k + 30] = shape
    return semantic, points_of([(15, 30 * k + 15) for k in range(count)], [1] * count)


y, x = np.mgrid[:30, :30] - 15.0
DISC = x**2 + y**2 <= 100
OVAL = (x / 12) ** 2 + ((y - x / 4) / 5) ** 2 <= 1
CROSS = (abs(x) <= 12) & (abs(y) <= 2) | (abs(y) <= 12) & (abs(x) <= 2)


@pytest.mark.parametrize(("shape", "is_round"), [(DISC, True), (OVAL, True), (CROSS, False)])
def test_ovals_are_round_and_crosses_are_not(shape, is_round):
    assert (roundness([tiles(shape)]) >= ROUND) == is_round


def test_regions_that_say_nothing_do_not_count():
    semantic, points = tiles(DISC, 12)
    few = points_of(points.yx[:9].long().tolist(), [1] * 9)
    assert roundness([(semantic, few)]) is None  # other regions have no click
    joined = semantic.copy()
    joined[15] = 1  # one region with all clicks
    assert roundness([(joined, points)]) is None
    assert roundness([]) is None


def test_regions_at_the_border_of_the_image_are_cut_off_and_do_not_count():
    cut = tiles(CROSS)[0][3:], points_of([(12, 30 * k + 15) for k in range(12)], [1] * 12)
    assert roundness([cut]) is None
    assert roundness([cut, tiles(DISC)]) >= ROUND
