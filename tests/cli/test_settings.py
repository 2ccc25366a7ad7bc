"""One table says what each setting decides."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from p2seg.cli.checks import check_settings
from p2seg.errors import UserError
from p2seg.runtime.settings import deciding, effect_of, flat, paths_read, setting_of
from p2seg.runtime.settings.table import SETTINGS
from p2seg.runtime.settings.values import Choice, Number

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


def test_a_row_with_allowed_values_is_a_setting_and_not_a_group(keys):
    groups = {".".join(key.split(".")[:n]) for key in keys for n in range(1, key.count(".") + 1)}
    assert sorted(key for key in groups & SETTINGS.keys() if SETTINGS[key].values) == []


def test_every_config_has_allowed_values():
    with initialize_config_dir(str(CONFIGS), version_base=None):
        for command, words in variants():
            check_settings(compose(command, words))


def test_a_row_of_a_setting_has_the_effect_of_its_group():
    """Otherwise a range added to a setting could change which settings decide a result."""
    apart = {
        key
        for key, row in SETTINGS.items()
        for group in (setting_of(key.rpartition(".")[0]),)
        if row.values and group and (row.effect, row.commands) != (group.effect, group.commands)
    }
    assert apart == {"predict.batch_size", "semantic.workers"}


@pytest.mark.parametrize(
    ("values", "good", "bad", "sentence"),
    [
        (Number(0), (0, 7), (-1, 1.0, True, None, "0"), "must be an integer >= 0"),
        (Number(1, also=(None,)), (1, None), (0, False), "must be an integer >= 1, or null"),
        (Number(0, 1, whole=False), (0, 0.5, 1), (1.1, True), "must be a number from 0 to 1"),
        (
            Number(0, 1, whole=False, above=True, also=(None,)),
            (0.1, 1, None),
            (0, 2),
            "must be a number > 0 and <= 1, or null",
        ),
        (Number(0, also=(True, False)), (0, True), (-1, None), ">= 0, or true or false"),
        (Choice((True, False)), (True, False), (1, 0, None), "choose true or false"),
        (Choice((0, 1, None)), (0, 1, None), (False, True, 2), "choose 0, 1 or null"),
    ],
)
def test_allowed_values(values, good, bad, sentence):
    for value in good:
        values.check("key", value)
    for value in bad:
        with pytest.raises(UserError, match=rf"^key=\w.*{sentence}|^key=-1: .*{sentence}"):
            values.check("key", value)


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
