"""Checkpoints: whole, of the right kind, and never code."""

from __future__ import annotations

import pickle

import pytest
import torch

from p2seg.engine.checkpoint import CheckpointFolder, Damaged, load_checkpoint, save_checkpoint
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


def spoil(path):
    """Changes a byte of the largest part, as a failing disk does."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_a_byte_that_has_changed_is_found(tmp_path):
    path = tmp_path / "a.pt"
    save_checkpoint(path, CONTENT | {"model": {"w": torch.zeros(10_000)}})
    load_checkpoint(path, "network")
    spoil(path)
    assert bool(torch.load(path, weights_only=True)["model"]["w"].any())  # torch does not notice
    with pytest.raises(Damaged, match="has changed on the disk"):
        load_checkpoint(path, "network")


def of_step(step):
    return CONTENT | {"step": step, "model": {"w": torch.full((1000,), float(step))}}


def earlier(folder):
    return sorted(path.name for path in (folder / "earlier").glob("*"))


def test_the_last_ones_are_kept(tmp_path):
    folder = CheckpointFolder(tmp_path, "network", keep=3)
    for step in (2, 4, 6, 8):
        folder.write(of_step(step))
    assert load_checkpoint(tmp_path / "last.pt", "network")["step"] == 8
    assert earlier(tmp_path) == ["step_00000004.pt", "step_00000006.pt"]
    kept = load_checkpoint(tmp_path / "earlier" / "step_00000006.pt", "network")
    assert kept["step"] == 6
    folder.write(of_step(8) | {"best": 0.5})  # the same step again
    assert earlier(tmp_path) == ["step_00000004.pt", "step_00000006.pt"]


def test_one_alone_can_be_kept(tmp_path):
    folder = CheckpointFolder(tmp_path, "network", keep=1)
    for step in (2, 4):
        folder.write(of_step(step))
    assert not earlier(tmp_path)


def test_a_system_without_hard_links(tmp_path, monkeypatch):
    def refuse(self, target):
        raise OSError("no links here")

    monkeypatch.setattr(type(tmp_path), "hardlink_to", refuse)
    folder = CheckpointFolder(tmp_path, "network", keep=2)
    for step in (2, 4):
        folder.write(of_step(step))
    kept = load_checkpoint(tmp_path / "earlier" / "step_00000002.pt", "network")
    assert kept["step"] == 2


def test_a_damaged_last_falls_back_to_the_one_before(tmp_path):
    folder = CheckpointFolder(tmp_path, "network", keep=3)
    for step in (2, 4, 6):
        folder.write(of_step(step))
    spoil(tmp_path / "last.pt")
    folder = CheckpointFolder(tmp_path, "network", keep=3)
    path, content, damage = folder.newest()
    assert (path.name, content["step"]) == ("step_00000004.pt", 4)
    assert "last.pt" in str(damage)
    folder.write(of_step(5))  # the good ones stay, and the damaged one is not among them
    assert earlier(tmp_path) == ["step_00000002.pt", "step_00000004.pt"]
    assert CheckpointFolder(tmp_path, "network", keep=3).newest()[1]["step"] == 5


@pytest.mark.parametrize("cut", [0, 1, 500])
def test_all_are_damaged(tmp_path, cut):
    folder = CheckpointFolder(tmp_path, "network", keep=2)
    for step in (2, 4):
        folder.write(of_step(step))
    for path in (tmp_path / "last.pt", *(tmp_path / "earlier").iterdir()):
        path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(Damaged, match=r"last\.pt is not a checkpoint"):
        CheckpointFolder(tmp_path, "network", keep=2).newest()


def test_a_new_training_takes_the_place_of_an_old_one(tmp_path):
    folder = CheckpointFolder(tmp_path, "network", keep=3)
    for step in (2, 4, 6):
        folder.write(of_step(step))
    folder = CheckpointFolder(tmp_path, "network", keep=3)
    folder.write(of_step(1))
    assert not earlier(tmp_path)
    folder.write(of_step(2))
    assert earlier(tmp_path) == ["step_00000001.pt"]


def test_there_is_none_yet(tmp_path):
    assert CheckpointFolder(tmp_path, "network", keep=3).newest() is None


def test_a_file_of_something_else_is_not_passed_over(tmp_path):
    CheckpointFolder(tmp_path, "network", keep=3).write(of_step(2))
    with pytest.raises(UserError, match="a segmentor is needed"):
        CheckpointFolder(tmp_path, "segmentor", keep=3).newest()


NOT_FINITE = {
    "nan": torch.tensor([1.0, float("nan")]),
    "infinity": torch.tensor([[1.0], [float("-inf")]]),
    "half": torch.tensor([float("inf")], dtype=torch.float16),
    "bfloat16": torch.tensor([float("nan")], dtype=torch.bfloat16),
    "a number": torch.tensor(float("nan"), dtype=torch.float64),
    "expanded beyond all memory": torch.tensor(float("nan")).expand(10**9, 10**9),
    "complex": torch.ones(2, dtype=torch.complex64),
    "larger than its storage": torch.ones(9).as_strided((5, 5), (1, 1)),
}
"""Weights that no model of ours can have."""
FINITE = {
    "counts": torch.tensor([2**62]),
    "flags": torch.tensor([True]),
    "nothing": torch.zeros(0, 3),
    "large": torch.tensor([3e38, -3e38]),
    "expanded": torch.ones(()).expand(10**9, 10**9),
    "channels last": torch.ones(2, 3, 4, 5).to(memory_format=torch.channels_last),
}


@pytest.mark.parametrize("key", ["model", "average"])
@pytest.mark.parametrize("kind", NOT_FINITE)
def test_weights_that_are_not_finite_are_refused(tmp_path, key, kind):
    path = tmp_path / "a.pt"
    torch.save({"format": 1, **CONTENT, key: {"head.w": NOT_FINITE[kind]}}, path)
    with pytest.raises(Damaged, match=rf"a\.pt is not usable: '{key}\.head\.w' is not fin") as e:
        load_checkpoint(path, "network")
    assert "\n" not in str(e.value)
    with pytest.raises(UserError, match=rf"after step 4 {key}\.head\.w is not finite"):
        save_checkpoint(tmp_path / "b.pt", {**CONTENT, key: {"head.w": NOT_FINITE[kind]}})
    assert not (tmp_path / "b.pt").exists()


@pytest.mark.parametrize("kind", FINITE)
def test_other_weights_are_taken_as_they_are(tmp_path, kind):
    save_checkpoint(tmp_path / "a.pt", CONTENT | {"average": {"w": FINITE[kind]}})
    made = load_checkpoint(tmp_path / "a.pt", "network")["average"]["w"]
    assert made.shape == FINITE[kind].shape


@pytest.mark.parametrize(
    "change",
    [
        {"model": {"w": NOT_FINITE["nan"]}},
        {"average": {"w": NOT_FINITE["nan"]}},
        {"optimizer": {"state": {0: {"exp_avg": NOT_FINITE["nan"]}}}},
    ],
)
def test_what_is_not_finite_leaves_all_files_as_they_were(tmp_path, change):
    folder = CheckpointFolder(tmp_path, "network", keep=3)
    for step in (2, 4):
        folder.write(of_step(step))
    folder.note_validation(4, 0.5, is_best=True)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(UserError, match=r"last\.pt is not written: after step 6"):
        folder.write(of_step(6) | change)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    torch.save({"format": 1, **of_step(6), **change}, tmp_path / "last.pt")
    path, content, damage = CheckpointFolder(tmp_path, "network", keep=3).newest()
    assert (path.name, content["step"]) == ("step_00000002.pt", 2)
    assert "last.pt is not usable" in str(damage)
