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


@pytest.mark.parametrize(("kind", "group"), [("network", "trainer"), ("segmentor", "segmentor")])
def test_the_batch_of_each_process_becomes_that_of_all(tmp_path, kind, group):
    config, settings = {group: {"batch_size": 4}}, {f"{group}.batch_size": 4}
    made = read(tmp_path, config, settings, kind, images_a_step=8)
    assert made["config"] == {group: {"batch_size": 8}}
    assert made["settings"] == {f"{group}.batch_size": 8}
    assert "images_a_step" not in made


@pytest.mark.parametrize("tree", [{"mdm": 3}, {"mdm": {"ways": [1]}}, {"mdm": {}}, {1: {}}, []])
def test_settings_of_another_shape_are_left_as_they_are(tmp_path, tree):
    config = tree if isinstance(tree, dict) else {}
    made = read(tmp_path, config, tree)
    assert (made["config"], made["settings"]) == (config, tree)
