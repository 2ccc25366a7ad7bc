"""Maps made worse on purpose: each way alone, on shapes with known answers."""

from __future__ import annotations

import numpy as np
import pytest

from p2seg.errors import UserError
from p2seg.semantic.degrade import Degrade


def squares() -> np.ndarray:
    """Two classes: a square of 20 and one of 30 pixels a side, apart."""
    semantic = np.zeros((80, 120), np.uint8)
    semantic[10:30, 10:30] = 1
    semantic[40:70, 60:90] = 2
    return semantic


def test_nothing_is_changed_by_default():
    given = squares()
    made = Degrade()(given, "a.jpg")
    assert np.array_equal(made, given)
    assert made is not given


def test_erosion_takes_a_border_of_its_width():
    made = Degrade(erode=3)(squares(), "a.jpg")
    assert (made[13:27, 13:27] == 1).all()
    assert (made == 1).sum() == 14 * 14
    assert (made == 2).sum() == 24 * 24


def test_dilation_takes_background_alone():
    given = squares()
    given[:, 100:] = 3
    made = Degrade(dilate=4)(given, "a.jpg")
    assert (made[given > 0] == given[given > 0]).all()
    assert (made[10:30, 6:10] == 1).all()
    assert (made[10:30, 5] == 0).all()
    assert (made[:40, 96:100] == 3).all()
    assert not Degrade(dilate=4)(np.zeros((9, 9), np.uint8), "a.jpg").any()


def test_missing_parts_are_of_the_share_asked_for():
    made = Degrade(missing=1, part=0.4)(squares(), "a.jpg")
    assert (made == 1).sum() == 400 - 160
    assert (made == 2).sum() == 900 - 360
    sides = [Degrade(missing=0.5, seed=s)(squares(), "a.jpg") for s in range(40)]
    whole = sum(int((each == 1).sum() == 400) for each in sides)
    assert 8 < whole < 32


def test_noise_moves_borders_and_leaves_the_middle():
    given = squares()
    made = Degrade(noise=2)(given, "a.jpg")
    assert (made[18:22, 18:22] == 1).all()
    changed = (made != given).sum()
    assert 20 < changed < 500
    assert set(np.unique(made)) == {0, 1, 2}


def test_draws_depend_on_seed_and_name_alone():
    worse = Degrade(missing=0.5, noise=2, seed=1)
    assert np.array_equal(worse(squares(), "a.jpg"), worse(squares(), "a.jpg"))
    assert not np.array_equal(worse(squares(), "a.jpg"), worse(squares(), "b.jpg"))
    assert not np.array_equal(
        worse(squares(), "a.jpg"), Degrade(missing=0.5, noise=2, seed=2)(squares(), "a.jpg")
    )


@pytest.mark.parametrize(
    "wrong",
    [{"missing": 1.5}, {"part": -0.1}, {"erode": -1}, {"noise": -2}, {"seed": -1}, {"dilate": 101}],
)
def test_settings_that_cannot_be_are_refused(wrong):
    with pytest.raises(UserError, match=r"missing and part must be in 0\.\.1"):
        Degrade(**wrong)
