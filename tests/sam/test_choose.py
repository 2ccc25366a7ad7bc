"""Choosing among masks made by hand: part, object and group, where the right answer is known."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sam_sets import block, candidate

from p2seg.errors import UserError
from p2seg.sam.assignment import cheapest, solve
from p2seg.sam.choose import Chooser, Costs, Image, sizes_of
from p2seg.sam.options import Options
from p2seg.sam.sizes import MIN_SPREAD, Sizes

PIXELS = 40 * 60
LABELS = np.array([1, 1])
YX = np.array([[20, 15], [20, 35]])
# two objects side by side; a part of each and the pair of both
PART, OBJECT, GROUP = 0, 1, 2
LEFT = [block(16, 10, 24, 20), block(10, 6, 30, 24), block(10, 6, 30, 44)]
RIGHT = [block(16, 30, 24, 40), block(10, 26, 30, 44), block(10, 6, 30, 44)]


def options(*offered: Any, yx: Any = YX, unions: bool = False) -> Options:
    return Options.of([list(each) for each in offered], yx[: len(offered)], unions)


def scored(masks: list[Any], scores: tuple[float, ...]) -> list[Any]:
    return [candidate(mask, score) for mask, score in zip(masks, scores, strict=True)]


def chosen(chooser: Chooser, given: Options, labels: Any = LABELS, **more: Any) -> list[Any]:
    found = chooser(given, labels, PIXELS, **more)
    return [None if i is None else given.members[i] for i in found]


def test_what_is_seen_of_options() -> None:
    given = options(scored(LEFT, (0.9, 0.8, 0.7)), [*scored(RIGHT, (0.5, 0.6, 0.7))])
    assert given.point.tolist() == [0, 0, 0, 1, 1, 1]
    assert given.area.tolist() == [80, 360, 760, 80, 360, 760]
    assert given.own.all()
    assert given.others.tolist() == [0, 0, 1, 0, 0, 1]
    overlap = given.overlap()
    assert overlap[1, 4] == 0
    assert overlap[1, 5] == pytest.approx(1)  # the left object lies in the right one's group
    assert overlap[2, 5] == pytest.approx(1)
    assert overlap[0, 1] == 0  # of the same point
    assert given.masks().shape == (6, 40, 60)


def test_empty_masks_are_no_options() -> None:
    given = options([candidate(block(0, 0, 0, 0))], scored(RIGHT, (0.5, 0.6, 0.7)))
    assert given.point.tolist() == [1, 1, 1]
    for select in ("score", "largest", "smallest", "consistent"):
        assert chosen(Chooser(select), given)[0] is None
    assert options([], []).overlap().shape == (0, 0)
    assert chosen(Chooser("consistent"), options([], [])) == [None, None]


@pytest.mark.parametrize(
    ("select", "expected"), [("score", GROUP), ("largest", GROUP), ("smallest", PART)]
)
def test_simple_choices(select: Any, expected: int) -> None:
    given = options(scored(LEFT, (0.8, 0.7, 0.9)))
    assert chosen(Chooser(select), given, LABELS[:1]) == [(expected,)]
    by_score = options(scored(LEFT, (0.95, 0.7, 0.9)))
    assert chosen(Chooser("score"), by_score, LABELS[:1]) == [(PART,)]


def test_consistent_takes_the_objects_between_part_and_group() -> None:
    """The part has the best score and the group nearly; the clicks speak against the group."""
    given = options(scored(LEFT, (0.93, 0.9, 0.92)), scored(RIGHT, (0.94, 0.9, 0.92)))
    assert chosen(Chooser("score"), given) == [(PART,), (PART,)]
    assert chosen(Chooser("consistent"), given) == [(OBJECT,), (OBJECT,)]


def test_a_mask_that_misses_its_own_click_is_left() -> None:
    given = options([candidate(block(0, 0, 9, 9), 0.99), candidate(LEFT[OBJECT], 0.7)])
    assert chosen(Chooser("consistent"), given, LABELS[:1]) == [(1,)]
    none = options([candidate(block(0, 0, 9, 9), 0.99)])
    assert chosen(Chooser("consistent"), none, LABELS[:1]) == [(0,)]  # better than nothing


def test_choices_are_made_jointly() -> None:
    """A mask over the half of a neighbor without its click: the neighbor's choice decides."""
    wide = block(10, 6, 30, 32)  # all of the left object, a third of the right one, not its click
    left = [candidate(LEFT[OBJECT], 0.88), candidate(wide, 0.9)]
    small, whole = candidate(block(16, 33, 24, 40), 0.9), candidate(RIGHT[OBJECT], 0.9)
    costs = Costs(part=0, size=0)
    assert chosen(Chooser("consistent", costs), options(left, [small])) == [(1,), (0,)]
    assert chosen(Chooser("consistent", costs), options(left, [whole])) == [(0,), (0,)]


def test_a_size_that_fits_the_class_is_taken() -> None:
    """Masks that clicks and scores cannot tell apart, of a class that is small over the set."""
    images = [
        Image(options([candidate(block(10, 10, 18, 20))]), np.array([1]), PIXELS) for _ in range(30)
    ]
    large = [Image(options([candidate(block(2, 2, 38, 58))]), np.array([2]), PIXELS)] * 30
    costs = Costs(part=0, size=1.0)
    sizes = sizes_of([*images, *large], costs, 3)
    assert sizes.middle[0] < sizes.middle[1]
    assert sizes.middle[0] < sizes.middle[2] < sizes.middle[1]  # a class without masks: all others'
    ambiguous = options([candidate(block(16, 10, 24, 20)), candidate(block(2, 2, 38, 58))])
    assert chosen(Chooser("consistent", costs, sizes), ambiguous, np.array([1])) == [(0,)]
    assert chosen(Chooser("consistent", costs, sizes), ambiguous, np.array([2])) == [(1,)]
    assert Chooser("consistent", costs, sizes).parameters["sizes"]["middle"] == sizes.middle


def test_sizes_of_nothing_and_of_equal_masks() -> None:
    assert Sizes.of([np.zeros(0), np.zeros(0)]).spread == (MIN_SPREAD, MIN_SPREAD)
    assert Sizes.of([]) == Sizes((), ())
    same = Sizes.of([np.full(100, -2.0)])
    assert same == Sizes((-2.0,), (MIN_SPREAD,))
    assert same.deviation(np.array([-1.0]), np.array([1])).tolist() == [2.0]


def test_network_takes_what_agrees_and_may_unite() -> None:
    top, bottom = block(10, 6, 20, 24), block(20, 6, 30, 24)
    given = options([candidate(top), candidate(bottom)], yx=np.array([[15, 10]]), unions=True)
    assert given.members == [(0,), (1,), (0, 1)]
    assert given.area.tolist() == [180, 180, 360]
    agreement = np.array([0.4, 0.45, 0.9])
    network = Chooser("network")
    assert chosen(network, given, LABELS[:1], agreement=agreement) == [(0, 1)]
    assert chosen(network, given, LABELS[:1], agreement=np.array([0.95, 0.2, 0.5])) == [(0,)]
    with pytest.raises(ValueError, match="needs the agreement"):
        network(given, LABELS[:1], PIXELS)


def test_unions_that_add_nothing_are_left_out() -> None:
    given = options(scored(LEFT, (0.9, 0.8, 0.7)), unions=True)
    assert given.members == [(0,), (1,), (2,)]  # nested: every union is one of them


def test_costs_are_not_negative() -> None:
    with pytest.raises(UserError, match="all costs must be >= 0"):
        Costs(part=-1)


def test_parameters_hold_all_that_decides() -> None:
    assert Chooser("largest", Costs(part=3)).parameters == {"select": "largest"}
    assert Chooser("consistent", Costs(part=3)).parameters["costs"]["part"] == 3


def brute(unary: Any, pair: Any, point: Any, count: int) -> float:
    groups = [np.flatnonzero(point == k) for k in range(count) if (point == k).any()]
    return min(total(unary, pair, choice) for choice in product(*groups))


def total(unary: Any, pair: Any, choice: Any) -> float:
    picked = list(choice)
    return float(unary[picked].sum() + pair[np.ix_(picked, picked)].sum() / 2)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=6),
    st.integers(0, 2**32 - 1),
    st.sampled_from([0.0, 0.5, 3.0]),
)
def test_the_cheapest_choice_is_found(sizes: list[int], seed: int, weight: float) -> None:
    random = np.random.default_rng(seed)
    point = np.repeat(np.arange(len(sizes)), sizes)
    unary = random.normal(size=len(point))
    pair = weight * random.random((len(point), len(point))) * (random.random() < 0.8)
    pair = np.where(random.random(pair.shape) < 0.5, pair, 0)
    pair = (pair + pair.T) * (point[:, None] != point[None])
    found = solve(unary, pair, point, len(sizes))
    assert [i is None for i in found] == [size == 0 for size in sizes]
    picked = [i for i in found if i is not None]
    assert [int(point[i]) for i in picked] == [k for k, size in enumerate(sizes) if size]
    if picked:
        best = brute(unary, pair, point, len(sizes))
        assert total(unary, pair, picked) == pytest.approx(best, abs=1e-6)


def test_of_equal_options_the_first_is_taken() -> None:
    assert cheapest(np.array([1.0, 1.0, 0.0]), np.array([0, 0, 2]), 3) == [0, None, 2]


@pytest.mark.slow
def test_a_crowd_where_all_meet_comes_to_an_end() -> None:
    random = np.random.default_rng(0)
    point = np.repeat(np.arange(40), 3)
    pair = random.random((120, 120)) * (random.random((120, 120)) < 0.5)
    pair = (pair + pair.T) * (point[:, None] != point[None])
    unary = random.normal(size=120)
    found = solve(unary, pair, point, 40)
    alone = cheapest(unary, point, 40)
    assert None not in found
    assert total(unary, pair, found) < total(unary, pair, alone)
