"""Building what the config describes: values are looked at before they do harm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest
from omegaconf import OmegaConf

from p2seg.cli.build import build
from p2seg.errors import UserError


@dataclass(frozen=True)
class Thing:
    count: int = 1
    rate: float = 1.0
    on: bool = False
    name: str = "a"
    kind: Literal["x", "y", "z"] = "x"
    file: Path | None = None
    most: int | None = None
    ends: tuple[float, float] = (0.0, 1.0)
    sizes: tuple[float, ...] = (1.0,)
    parts: Sequence[str] = ()
    anything: object = None


def thing(**values):
    here = f"{__name__}.Thing"
    return OmegaConf.create({"group": {"thing": {"_target_": here} | values}}).group.thing


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"count": 3, "rate": 2, "on": True, "name": "b", "kind": "y"},
        {"rate": 1e-5, "file": "a/b", "most": None},
        {"file": None, "most": 4, "ends": [0, 0.5], "sizes": [1, 0.5, 2.0], "parts": ["a"]},
        {"sizes": [], "parts": []},
        {"anything": {"a": 1}},
    ],
)
def test_values_that_can_be(values):
    made = build(thing(**values))
    assert isinstance(made, Thing)
    for key, value in values.items():
        assert getattr(made, key) == value


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"count": "many"}, "group.thing.count=many: must be an integer"),
        ({"count": 1.5}, "group.thing.count=1.5: must be an integer"),
        ({"count": True}, "group.thing.count=True: must be"),
        ({"count": None}, "group.thing.count=None: must be"),
        ({"rate": "fast"}, "group.thing.rate=fast: must be a number"),
        ({"rate": float("nan")}, "group.thing.rate=nan: must be"),
        ({"on": "yes"}, "group.thing.on=yes: must be true or false"),
        ({"on": 1}, "group.thing.on=1: must be"),
        ({"name": 3}, "group.thing.name=3: must be a string"),
        ({"kind": "w"}, "group.thing.kind=w: must be x, y or z"),
        ({"file": 3}, "group.thing.file=3: must be a path or null"),
        ({"most": "all"}, "group.thing.most=all: must be an integer or null"),
        ({"ends": [1]}, "group.thing.ends=[1]: must be a list of 2 numbers in square"),
        ({"ends": 1.0}, "group.thing.ends=1.0: must be"),
        ({"sizes": ["a"]}, "group.thing.sizes=['a']: must be a list of numbers in square"),
        ({"parts": "ab"}, "group.thing.parts=ab: must be a list of strings in square"),
        ({"_target_": "p2seg.nothing"}, "group.thing._target_=p2seg.nothing is not an importable"),
        ({"other": 3}, "there is no setting group.thing.other: Thing has no parameter other"),
    ],
)
def test_values_that_cannot_be_are_named(values, sentence):
    with pytest.raises(UserError) as error:
        build(thing(**values))
    assert sentence in str(error.value)


def test_a_setting_that_is_referred_to_has_its_own_name():
    cfg = OmegaConf.create(
        {"mine": {"kind": "w"}, "thing": {"_target_": f"{__name__}.Thing", "kind": "${mine.kind}"}}
    )
    with pytest.raises(UserError, match=r"^mine\.kind=w: must be"):
        build(cfg.thing)


def test_a_node_in_a_node_is_looked_at():
    with pytest.raises(UserError, match=r"^group\.thing\.anything\.count=x: must be"):
        build(thing(anything={"_target_": f"{__name__}.Thing", "count": "x"}))


def test_a_path_that_looks_like_a_reference_stays_a_path():
    cfg = OmegaConf.create(
        {"file": r"a/\${b}", "thing": {"_target_": f"{__name__}.Thing", "file": "${file}"}}
    )
    assert build(cfg.thing).file == "a/${b}"


def test_lists_are_plain_lists():
    assert type(build(thing(sizes=[1.0])).sizes) is list


def refusing(value: int = 0) -> None:
    raise UserError(f"value={value} is refused")


def broken() -> None:
    raise KeyError("ours")


def test_errors_come_out_as_they_are():
    with pytest.raises(UserError, match="value=3 is refused"):
        build(OmegaConf.create({"_target_": f"{__name__}.refusing", "value": 3}))
    with pytest.raises(KeyError, match="ours"):
        build(OmegaConf.create({"_target_": f"{__name__}.broken"}))


def test_functions_of_other_libraries_are_left_alone():
    optimizer = build(
        OmegaConf.create({"_target_": "torch.optim.AdamW", "_partial_": True, "lr": 0.1})
    )
    assert optimizer.keywords == {"lr": 0.1}
