"""Checkpoints: whole, of the right kind, and never code."""

from __future__ import annotations

import pickle

import pytest
import torch

from p2seg.checkpoint import load_checkpoint, refuse_other_run, save_checkpoint
from p2seg.errors import UserError

CONTENT = {"kind": "network", "model": {"w": torch.arange(3.0)}, "step": 4, "config": {"a": [1]}}


def test_a_checkpoint_comes_back(tmp_path):
    save_checkpoint(tmp_path / "deep" / "a.pt", CONTENT)
    made = load_checkpoint(tmp_path / "deep" / "a.pt", "network")
    assert torch.equal(made.pop("model")["w"], torch.arange(3.0))
    assert made == {"format": 1, "kind": "network", "step": 4, "config": {"a": [1]}}


def test_a_failing_save_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "a.pt"
    save_checkpoint(path, CONTENT)
    before = path.read_bytes()
    with pytest.raises((AttributeError, TypeError, pickle.PicklingError)):
        save_checkpoint(path, CONTENT | {"step": lambda: 0})
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["a.pt"]


class Trap:
    """Runs code when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_code_is_refused_and_does_not_run(tmp_path):
    path = tmp_path / "a.pt"
    save_checkpoint(path, CONTENT | {"trap": Trap(tmp_path / "sprung")})
    with pytest.raises(UserError, match=r"a\.pt is not a checkpoint of p2seg"):
        load_checkpoint(path, "network")
    path.write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    with pytest.raises(UserError, match="could run code"):
        load_checkpoint(path, "network")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_file_cut_short_is_refused(tmp_path, share):
    path = tmp_path / "a.pt"
    save_checkpoint(path, CONTENT)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(UserError, match="is not a checkpoint of p2seg: it is cut short") as error:
        load_checkpoint(path, "network")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [torch.zeros(2), {"state_dict": {}}, {"format": 99}, [], None])
def test_a_file_of_other_content_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(UserError, match=r"not a checkpoint of (p2seg but|this version)"):
        load_checkpoint(tmp_path / "a.pt", "network")


def test_another_kind_is_refused(tmp_path):
    save_checkpoint(tmp_path / "a.pt", CONTENT)
    with pytest.raises(UserError, match="checkpoint of a network, but a segmentor is needed"):
        load_checkpoint(tmp_path / "a.pt", "segmentor")


def test_a_missing_file_is_one_sentence(tmp_path):
    for path in (tmp_path / "none.pt", tmp_path):
        with pytest.raises(UserError, match="no checkpoint at"):
            load_checkpoint(path, "network")


def test_a_run_is_the_same_whatever_is_not_compared(tmp_path):
    one = {"config": {"a": {"b": [1, 2]}, "c": None}, "inputs": {}, "step": 3}
    refuse_other_run(tmp_path, one, one | {"step": 5, "versions": {"torch": "9"}})
    refuse_other_run(tmp_path, {}, {"kind": "line"})


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"a": {"b": [1, 3]}, "c": None}, "a.b.1 was 2 and is 3"),
        ({"a": {"b": [1]}, "c": None}, "a.b.1 was 2 and is None"),
        ({"a": {"b": [1, 2]}, "c": 0}, "c was None and is 0"),
    ],
)
def test_the_keys_that_differ_are_named(tmp_path, change, named):
    saved = {"config": {"a": {"b": [1, 2]}, "c": None}}
    with pytest.raises(UserError) as error:
        refuse_other_run(tmp_path / "last.pt", saved, {"config": change})
    assert f"({named})" in str(error.value)
