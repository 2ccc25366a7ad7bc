"""Outlines fill exactly the pixels of their mask."""

from __future__ import annotations

import numpy as np
import pytest
from format_sets import mask_of, masks, raster
from hypothesis import given, settings

from p2seg.formats.masks.labelme import filled
from p2seg.formats.masks.polygons import area, joined, parts_of

RING = "111 1.1 111"


@settings(max_examples=150, deadline=None)
@given(masks())
def test_outlines_and_holes_give_the_mask_back(mask):
    parts = parts_of(mask)
    rings = [ring for part in parts for ring in (part.outline, *part.holes)]
    np.testing.assert_array_equal(raster(rings, *mask.shape), mask)
    inside = sum(area(part.outline) - sum(map(area, part.holes)) for part in parts)
    assert inside == mask.sum()


@settings(max_examples=100, deadline=None)
@given(masks())
def test_parts_share_no_pixel_and_are_filled_alike(mask):
    total = np.zeros(mask.shape, int)
    for part in parts_of(mask):
        own = filled(part, mask.shape)
        np.testing.assert_array_equal(own, raster([part.outline, *part.holes], *mask.shape))
        total += own
    np.testing.assert_array_equal(total, mask)


@settings(max_examples=100, deadline=None)
@given(masks())
def test_a_ring_turns_at_every_corner(mask):
    for part in parts_of(mask):
        for ring in (part.outline, *part.holes):
            steps = ring - np.roll(ring, 1, axis=0)
            across = steps[:, 0] != 0
            assert len(ring) >= 4
            assert ((steps != 0).sum(1) == 1).all()  # along rows and columns, never nowhere
            assert (across != np.roll(across, 1)).all()


@settings(max_examples=100, deadline=None)
@given(masks())
def test_the_way_between_joined_rings_encloses_nothing(mask):
    rings = [part.outline for part in parts_of(mask)]
    parts = np.zeros(mask.shape, int)
    for ring in rings:
        parts += raster([ring], *mask.shape)
    if rings and parts.max() <= 1:  # none in another's hole
        polygon = joined(rings)
        np.testing.assert_array_equal(raster([polygon], *mask.shape), parts == 1)
        assert area(polygon) == sum(map(area, rings))


@pytest.mark.parametrize(
    ("text", "corners"),
    [
        ("1", [[(0, 0), (1, 0), (1, 1), (0, 1)]]),
        (". . .1", [[(1, 2), (2, 2), (2, 3), (1, 3)]]),
        ("1111", [[(0, 0), (4, 0), (4, 1), (0, 1)]]),
        ("1. 11", [[(0, 0), (1, 0), (1, 1), (2, 1), (2, 2), (0, 2)]]),
        ("1.11", [[(2, 0), (4, 0), (4, 1), (2, 1)], [(0, 0), (1, 0), (1, 1), (0, 1)]]),
        ("...", []),
    ],
    ids=["one pixel", "in a corner", "a line", "a step", "two parts", "nothing"],
)
def test_outlines_by_hand(text, corners):
    rows = text.split()
    width = max(map(len, rows))
    found = parts_of(mask_of(" ".join(row.ljust(width, ".") for row in rows)))
    assert [set(map(tuple, part.outline.tolist())) for part in found] == [*map(set, corners)]
    assert [len(part.outline) for part in found] == [*map(len, corners)]


def test_pixels_that_touch_at_a_corner_are_one_part():
    [part] = parts_of(mask_of("1. .1"))
    assert part.outline.tolist().count([1, 1]) == 2


def test_a_hole_is_of_its_part():
    [part] = parts_of(mask_of(RING))
    assert area(part.outline) == 9
    assert [area(hole) for hole in part.holes] == [1]


def test_a_part_inside_a_hole_is_one_of_its_own():
    outer, inner = parts_of(mask_of("11111 1...1 1.1.1 1...1 11111"))
    assert [area(hole) for hole in outer.holes] == [9]
    assert (area(inner.outline), inner.holes) == (1, [])
