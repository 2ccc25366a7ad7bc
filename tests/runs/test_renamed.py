"""Checkpoints of earlier versions load, and their settings have the names of today."""

from __future__ import annotations

import pytest

from p2seg.checkpoint import load_checkpoint, save_checkpoint
from p2seg.training_state import differences

SETTING = {"mdm.prior": "network", "method.mdm.prior": "network", "loss.border": 0}


def read(tmp_path, config, settings, kind="network", **more):
    """What a checkpoint with these settings holds when it is read."""
    path = tmp_path / "last.pt"
    content = {"kind": kind, "model": {}, "config": config, "settings": settings, "step": 3}
    save_checkpoint(path, content | more)
    return load_checkpoint(path, kind)


def test_removed_settings_that_did_nothing_are_dropped(tmp_path):
    config = {"mdm": {"prior": "network", "beta": 3.0}, "loss": {"border": 0, "offset": 0.01}}
    made = read(tmp_path, config, {**SETTING, "method.loss.border": 0, "mdm.beta": 3.0})
    assert made["config"] == {"mdm": {"beta": 3.0}, "loss": {"offset": 0.01}}
    assert made["settings"] == {"mdm.beta": 3.0}


def test_a_removed_setting_that_did_something_is_a_difference(tmp_path):
    config = {"mdm": {"prior": "S0"}, "loss": {"border": 2}}
    made = read(tmp_path, config, {**SETTING, "mdm.prior": "S0"})
    other, _ = differences(made, {"config": {"mdm": {}, "loss": {}}, "settings": {}})
    assert other == ["loss.border was 2 and is None", "mdm.prior was S0 and is None"]


WAYS = {"_target_": "p2seg.mdm.ways.Ways", "kind": "straight", "colour": 2.0}


@pytest.mark.parametrize(
    ("ways", "distance", "weight"),
    [
        (WAYS, "euclidean", 2.0),
        (WAYS | {"kind": "geodesic", "vote": 0.0, "affinity": 0.0}, "geodesic", 2.0),
        ({key: WAYS[key] for key in ("_target_", "kind")}, "euclidean", 3.0),  # BESTIE's
    ],
)
def test_the_ways_become_the_distance(tmp_path, ways, distance, weight):
    settings = {f"{group}.ways.{k}": v for group in ("mdm", "seeder") for k, v in ways.items()}
    made = read(tmp_path, {"mdm": {"ways": ways, "beta": 3.0}}, settings)
    assert made["config"] == {"mdm": {"distance": distance, "color_weight": weight, "beta": 3.0}}
    assert made["settings"] == {
        "mdm.distance": distance,
        "mdm.color_weight": weight,
        "seeder.distance._target_": "p2seg.mdm.distance.Distance",
        "seeder.distance.kind": distance,
        "seeder.distance.color_weight": weight,
    }


def test_a_distance_with_votes_is_a_difference(tmp_path):
    made = read(tmp_path, {"mdm": {"ways": WAYS | {"vote": 1.0}}}, {})
    now = {"config": {"mdm": {"distance": "euclidean", "color_weight": 2.0}}, "settings": {}}
    assert differences(made, now)[0] == ["mdm.ways.vote was 1.0 and is None"]


@pytest.mark.parametrize(("kind", "group"), [("network", "trainer"), ("segmentor", "segmentor")])
def test_the_batch_of_each_process_becomes_that_of_all(tmp_path, kind, group):
    config, settings = {group: {"batch_size": 4}}, {f"{group}.batch_size": 4}
    made = read(tmp_path, config, settings, kind, images_a_step=8)
    assert made["config"] == {group: {"batch_size": 8}}
    assert made["settings"] == {f"{group}.batch_size": 8}
    assert "images_a_step" not in made


@pytest.mark.parametrize("tree", [{"mdm": 3}, {"mdm": {"ways": [1]}}, {"mdm": {}}, {1: {}}])
def test_settings_of_another_shape_are_left_as_they_are(tmp_path, tree):
    made = read(tmp_path, tree, tree)
    assert (made["config"], made["settings"]) == (tree, tree)


def test_the_size_of_the_augmentation_is_that_of_the_data(tmp_path):
    augment = {"crop": 416, "short_side": 480, "max_ratio": 4.0}
    made = read(tmp_path, {"data": {"augment": augment}}, {})
    assert made["config"] == {"data": {"augment": {"crop": 416}, "short_side": 480}}
