"""A rank that dies in a training, or meets what cannot be, takes all with it; it goes on after."""

from __future__ import annotations

import sys

import pytest
import torch
from process_sets import MINUTE, WORKER, nodes, running, succeed, torchrun
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tool_sets import NETWORK
from training_sets import training_set

from p2seg.engine.checkpoint import load_checkpoint

FAULTS = {
    "kill": "",
    "error": "RuntimeError: a fault of the test",
    "mistake": "a mistake of the test; take it out",
    "nan": "the loss of step 4 is not finite",
    "gradient": "the gradient of step 4 is not finite",
}
"""What a rank does in its fifth step, and what is said of it."""


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("faults")


@pytest.fixture(scope="module")
def words(root):
    """Of a training of six steps with a checkpoint after every second one, but `out`."""
    made = training_set(root / "set", 8)
    steps = ("trainer.max_steps=6", "trainer.checkpoint_every=2", "trainer.log_every=1")
    return ["train", *made.words, *NETWORK, *steps, "trainer.batch_size=2", "model.norm=group"]


@pytest.fixture(scope="module")
def whole(root, words):
    """What a training of two processes leaves that nothing stops."""
    succeed(root, torchrun(2, [*words, f"out={root}/whole"]))
    return root / "whole"


def commands(launcher, words):
    """The commands of a job of two processes, and its settings."""
    if launcher == "torchrun":
        return [torchrun(2, words)], {}
    if launcher == "hosts":
        return nodes(2, 1, words), {}
    name, *own = words
    return [[sys.executable, WORKER, *own, "trainer.devices=2"]], {"tool": name}


def losses(folder):
    events = EventAccumulator(str(folder)).Reload()
    tags = [tag for tag in events.Tags()["scalars"] if tag.startswith("loss/")]
    return {tag: {each.step: each.value for each in events.Scalars(tag)} for tag in tags}


def stopped(folder, out, launcher, words, fault, rank):
    """Runs into the fault, and gives what was said."""
    jobs, told = commands(launcher, [*words, f"out={out}"])
    with running(folder, *jobs, fault=f"{fault}:{rank}:5", **told) as job:
        assert job.until((out / "last.pt").is_file), job.said
        assert all(job.ended(MINUTE)), job.said
        assert FAULTS[fault] in job.said
        return job.said


def goes_on(folder, out, launcher, words, whole):
    """The same command does the rest, and ends where the training ends that nothing stopped."""
    assert load_checkpoint(out / "last.pt", "network")["step"] == 4
    jobs, told = commands(launcher, [*words, f"out={out}"])
    assert "is at step 4 of 6: resumed" in succeed(folder, *jobs, **told)
    assert losses(out) == losses(whole)
    end, again = (load_checkpoint(each / "last.pt", "network") for each in (whole, out))
    for key in ("model", "average"):
        assert all(torch.equal(end[key][name], again[key][name]) for name in end[key])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("launcher", "fault", "rank"),
    [("torchrun", "kill", 1), ("hosts", "kill", 1), ("devices", "kill", 1), ("devices", "kill", 0)],
)
def test_a_dead_rank_ends_all_and_the_same_command_goes_on(
    tmp_path, words, whole, launcher, fault, rank
):
    stopped(tmp_path, tmp_path / "out", launcher, words, fault, rank)
    goes_on(tmp_path, tmp_path / "out", launcher, words, whole)


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["torchrun", "hosts", "devices"])
@pytest.mark.parametrize(("fault", "rank"), [("error", 1), ("mistake", 0)])
def test_an_error_of_one_rank_ends_all_and_is_said(tmp_path, words, launcher, fault, rank):
    said = stopped(tmp_path, tmp_path / "out", launcher, words, fault, rank)
    assert said.count(FAULTS[fault]) == 1, said


@pytest.mark.slow
@pytest.mark.parametrize("more", [(), ("trainer.clip_norm=null",)])
def test_a_gradient_that_is_not_finite_ends_all_ranks_at_once(tmp_path, words, more):
    said = stopped(tmp_path, tmp_path / "out", "torchrun", [*words, *more], "gradient", 1)
    assert said.count(FAULTS["gradient"]) == 1, said
    # all ranks have the same gradient: nobody knows whose images it is from
    assert len([k for k in range(8) if f"part/{k}.png" in said]) == 2, said
    assert load_checkpoint(tmp_path / "out" / "last.pt", "network")["step"] == 4


@pytest.mark.slow
def test_a_loss_that_is_not_finite_names_the_images_of_its_rank(tmp_path, words, whole):
    said = stopped(tmp_path, tmp_path / "out", "torchrun", words, "nan", 1)
    assert said.count(FAULTS["nan"]) == 1, said
    assert len([k for k in range(8) if f"part/{k}.png" in said]) == 1, said
    # one process resumes the same command to the same end, except for rounding
    one = (f"out={tmp_path}/out",)
    assert "is at step 4 of 6: resumed" in succeed(tmp_path, torchrun(1, [*words, *one]))
    found, wanted = losses(tmp_path / "out"), losses(whole)
    for name, values in wanted.items():
        assert found[name] == pytest.approx(values, rel=1e-3)
