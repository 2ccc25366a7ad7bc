"""What is read of a checkpoint's settings, and how departures are written."""

from __future__ import annotations

from pathlib import Path

import pytest

from p2seg.errors import UserError
from p2seg.method.trained_settings import Trained, departures, leaves, written

CONTENT = {
    "config": {
        "mdm": {"beta": 3.0, "split": "euclidean", "x": {"_target_": "os.system"}},
        "model": {"backbone": "resnet18", "pretrained": True, "weights": "/a/b.pth", "width": 8},
        "optim": {"lr": 1},
    },
    "method": {"_target_": "p2seg.method.p2seg.P2Seg"},
    "export": {"scales": [1.0, 0.5], "flip": True},
}
TRAINED = Trained.of(Path("last.pt"), CONTENT)


def test_settings_that_were_others_in_training():
    own = {"mdm.beta": 3, "mdm.split": "geodesic", "export.flip": 1, "export.scales": [1, 0.5]}
    assert TRAINED.differing(own) == ["mdm.split", "export.flip"]
    weights = {"model.pretrained": False, "model.weights": None, "optim.lr": 2}
    assert TRAINED.differing(weights) == []
    assert TRAINED.method == "p2seg.method.p2seg.P2Seg"
    assert TRAINED.network is None


@pytest.mark.parametrize(
    "value",
    [
        *("a/b", "hub:x", "${mdm.beta}", "a b", "x\n", "é", "a" * 81, 2**31, float("inf")),
        *([[1]], [1] * 1001, ["a/b"], {"a": 1}),
    ],
)
def test_values_that_no_checkpoint_may_choose(value):
    trained = Trained.of(Path("last.pt"), {"config": {"mdm": {"beta": value, "gamma": 1}}})
    if isinstance(value, dict):
        assert "mdm.beta" not in trained.values
        return
    with pytest.raises(UserError, match=r"last\.pt has mdm\.beta="):
        trained.value("mdm.beta")


@pytest.mark.parametrize("value", ["hrnet_w48.ms_in1k", "", None, True, -3, 0.5, [1, 0.5], []])
def test_values_that_are_taken(value):
    trained = Trained.of(Path("last.pt"), {"config": {"mdm": {"beta": value}}})
    assert trained.value("mdm.beta") == value


def test_what_an_older_version_lacks_or_has_too_much():
    old = Trained.of(Path("last.pt"), {"config": CONTENT["config"]})
    own = {"mdm.beta": 3, "mdm.decode": "point", "export.flip": True, "export.edges": 0}
    own |= {"loss.offset": 1, "mdm.start_step": 5, "model.pretrained": True}
    assert old.missing(own) == ["mdm.decode", "export"]
    assert old.unknown(own) == ["mdm.split", "model.backbone", "model.width"]


def test_departures_are_written_as_words():
    own = {"a.b": 20.0, "c": None, "d": [1.0, 2.5], "e": False, "f": "x", "same": 3}
    reference = {"a.b": 3.0, "c": "auto", "d": [1], "e": True, "same": 3.0}
    assert departures(own, reference) == [
        "a.b=20 (3)",
        "c=null (auto)",
        "d=[1,2.5] ([1])",
        "e=false (true)",
        "f=x (none)",
    ]
    assert written(1e-05) == "1e-05"


def test_leaves_are_named_with_dots():
    tree = {"a": {"_target_": "x", "b": [1, 2]}, 3: {"c": 1}, "d": {}}
    assert leaves(tree) == {"a.b": [1, 2]}
