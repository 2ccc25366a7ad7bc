"""What a run may change when it goes on, and what it may not."""

from __future__ import annotations

import pytest

from p2seg.engine.state import differences


def test_a_run_is_the_same_whatever_is_not_compared():
    one = {"config": {"a": {"b": [1, 2]}, "c": None}, "inputs": {}, "step": 3}
    assert differences(one, one | {"step": 5, "versions": {"torch": "9"}}) == ([], [])
    assert differences({}, {"kind": "line"}) == ([], [])


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"a": {"b": [1, 3]}, "c": None}, ["a.b.1 was 2 and is 3"]),
        ({"a": {"b": [1]}, "c": None}, ["a.b.1 was 2 and is None"]),
        ({"a": {"b": [1, 2]}, "c": 0}, ["c was None and is 0"]),
        ({"a": {"b": [5, 6]}, "c": 0, "d": 1}, 4),
    ],
)
def test_every_key_that_differs_is_named(change, named):
    saved = {"config": {"a": {"b": [1, 2]}, "c": None}}
    found, harmless = differences(saved, {"config": change})
    assert (len(found) == named) if isinstance(named, int) else (found == named)
    assert not harmless


def test_settings_that_decide_rounding_or_nothing_are_no_difference():
    saved = {
        "config": {"trainer": {"ema": True}},
        "settings": {"trainer": {"ema": True, "log_every": 20}, "data": {"workers": 4}},
    }
    now = {
        "config": {"trainer": {"ema": True}},
        "settings": {"trainer": {"ema": True, "log_every": 5}, "data": {"workers": 4}},
    }
    assert differences(saved, now) == ([], [])
    saved["settings"]["threads"], now["settings"]["threads"] = 1, 2
    assert differences(saved, now) == ([], ["threads was 1 and is 2"])
    now["settings"]["trainer"]["max_steps"] = 5  # what nobody has called harmless is none
    assert differences(saved, now)[0] == ["trainer.max_steps was None and is 5"]


def test_the_batch_is_compared():
    def run(images):
        return {"config": {"trainer": {"batch_size": images}}}

    assert differences(run(8), run(8)) == ([], [])
    assert differences(run(8), run(16)) == (["trainer.batch_size was 8 and is 16"], [])
