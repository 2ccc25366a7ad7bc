"""One table says what each setting decides."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from p2seg.runtime.settings import SETTINGS, deciding, effect_of, flat, paths_read, setting_of

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
COMMANDS = sorted(path.stem for path in CONFIGS.glob("*.yaml") if path.stem != "base")
GROUPS = ("data", "mdm", "model", "optim", "segmentor", "semantic", "trainer")
NOT_OF_A_CONFIG = {"versions", "threads", "inputs", "categories", "skipped"}
"""Rows of what a checkpoint holds beside its settings."""


def variants() -> Iterator[tuple[str, list[str]]]:
    """Every command, every choice of every group, and every experiment."""
    yield from ((command, []) for command in COMMANDS)
    for group in GROUPS:
        for path in sorted((CONFIGS / group).glob("[!_]*.yaml")):
            yield "pipeline", [f"{group}={path.stem}"]
    for path in sorted((CONFIGS / "exp").glob("*.yaml")):
        yield "pipeline", [f"+exp={path.stem}"]


@pytest.fixture(scope="module")
def keys() -> set[str]:
    found: set[str] = set()
    with initialize_config_dir(str(CONFIGS), version_base=None):
        for command, words in variants():
            config = OmegaConf.to_container(compose(command, words))
            found |= flat(config).keys()
            # a group without settings, and a list without entries, are settings as well
            found |= {key for key, value in config.items() if not value}
    return found


def test_every_setting_of_every_config_stands_in_the_table(keys):
    assert sorted(key for key in keys if setting_of(key) is None) == []


def test_every_row_of_the_table_is_a_setting(keys):
    known = {".".join(key.split(".")[:n]) for key in keys for n in range(1, key.count(".") + 2)}
    assert sorted(SETTINGS.keys() - known - NOT_OF_A_CONFIG) == []


@pytest.mark.parametrize(
    ("key", "effect"),
    [
        ("trainer.accelerator", "rounding"),
        ("trainer.devices", "rounding"),
        ("trainer.snapshots.0", "nothing"),
        ("data.workers", "nothing"),
        ("data.images", "content"),
        ("semantic.source.maps", "nothing"),
        ("semantic.source.sure", "result"),
        ("optim.weight_decay", "result"),
        ("nobody.knows.this", "result"),
    ],
)
def test_what_a_setting_decides(key, effect):
    assert effect_of(key) == effect


def test_a_command_depends_on_its_own_settings():
    config = {
        "mdm": {"beta": 3.0},
        "loss": {"offset": 0.01},
        "export": {"flip": True},
        "trainer": {"keep": 2, "precision": "32-true"},
        "data": {"points": "a.json", "augment": {"scale": [0.5, 1.0]}},
    }
    augment = {"data.augment.scale.0": 0.5, "data.augment.scale.1": 1.0}
    both = {"mdm.beta": 3.0, "trainer.precision": "32-true"}
    assert deciding(config, "train") == {**both, "loss.offset": 0.01, **augment}
    assert deciding(config, "gen_pseudo") == {**both, "export.flip": True}
    assert "data.points" in paths_read("train")
    assert "data.points" not in paths_read("train_segmentor")
