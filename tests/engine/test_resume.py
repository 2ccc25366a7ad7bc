"""Going on from a checkpoint: exactly, after signals and damage, and not with other settings."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from training_runs import CONTENT, TRAINER, Run, scored

from p2seg.engine.checkpoint import CheckpointFolder, load_checkpoint
from p2seg.engine.optim import adamw, sgd
from p2seg.engine.trainer import Trainer
from p2seg.errors import UserError
from p2seg.runtime.preemption import Stopped
from p2seg.runtime.workers import WorkerLost


@pytest.fixture
def run(tmp_path):
    return Run(tmp_path)


def test_a_resumed_run_equals_one_without_interruption_bit_for_bit(tmp_path):
    whole, parts = Run(tmp_path / "whole"), Run(tmp_path / "parts")
    end = load_checkpoint(whole.fit(), "network")
    for stop in (3, 5):  # an odd step was not saved: it is done again
        parts.stop_before = stop
        with pytest.raises(KeyboardInterrupt):
            parts.fit()
        torch.manual_seed(1234 + stop)  # a new process is in another state
    parts.stop_before = -1
    again = load_checkpoint(parts.fit(), "network")
    assert parts.losses == whole.losses
    assert parts.rates == whole.rates
    for key in ("model", "average"):
        assert end[key].keys() == again[key].keys()
        assert all(torch.equal(end[key][name], again[key][name]) for name in end[key])
    assert end["average_updates"] == again["average_updates"] == 6
    moments = [each["optimizer"]["state"] for each in (end, again)]
    for index, state in moments[0].items():
        assert all(torch.equal(state[name], moments[1][index][name]) for name in state)


def test_a_finished_run_is_left_as_it_is(run):
    path = run.fit()
    before = path.read_bytes()
    run.losses.clear()
    assert run.fit() == path
    assert not run.losses
    assert path.read_bytes() == before


def test_resume_never_starts_over(run):
    run.fit()
    first = dict(run.losses)
    run.losses.clear()
    torch.manual_seed(0)
    run.fit(dataclasses.replace(TRAINER, resume="never"))
    assert run.losses == first


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"config": {"seed": 0, "mdm": {"rounds": 2, "beta": 3.0}}}, "mdm.rounds was 1 and is 2"),
        ({"config": {"seed": 0, "mdm": {"rounds": 1}}}, "mdm.beta was 3.0 and is None"),
        ({"inputs": {"points": "xyz"}}, "inputs.points was abc and is xyz"),
        ({"categories": [{"id": 7, "name": "cat"}]}, "categories.0.name was red and is cat"),
        ({"skipped": ["a.jpg is broken"]}, "a.jpg is broken"),
    ],
)
def test_a_run_does_not_go_on_with_other_settings(run, change, named):
    path = run.fit(dataclasses.replace(TRAINER, max_steps=2))
    before = path.read_bytes()
    with pytest.raises(UserError, match="was trained with other settings") as error:
        run.fit(content=CONTENT | change)
    assert named in str(error.value)
    assert "resume=never" in str(error.value)
    assert path.read_bytes() == before


def test_a_checkpoint_of_something_else_is_not_overwritten(run):
    path = run.fit(dataclasses.replace(TRAINER, max_steps=2))
    before = path.read_bytes()
    with pytest.raises(UserError, match="checkpoint of a network, but a segmentor"):
        run.fit(content=CONTENT | {"kind": "segmentor"})
    assert path.read_bytes() == before


def test_a_run_that_goes_on_remembers_its_best(run):
    run.stop_before = 5
    with pytest.raises(KeyboardInterrupt):
        run.fit(validation=scored(0.9, 0.3)[0], validate_every=2)
    run.stop_before = -1
    run.fit(validation=scored(0.8)[0], validate_every=2)
    assert load_checkpoint(run.out / "best.pt", "network")["step"] == 2


def test_what_was_validated_is_never_lost(run):
    trainer = dataclasses.replace(TRAINER, checkpoint_every=100)
    run.stop_before = 3
    with pytest.raises(KeyboardInterrupt):
        run.fit(trainer, validation=scored(0.9)[0], validate_every=2)
    assert load_checkpoint(run.out / "last.pt", "network")["step"] == 2
    (run.out / "last.pt").unlink()
    run.stop_before = 1
    with pytest.raises(KeyboardInterrupt):  # begins anew: the best of before is not its own
        run.fit(trainer, validation=scored(0.1)[0], validate_every=2)
    assert not (run.out / "best.pt").exists()


@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed"])
def test_half_precision_goes_on_as_exactly(tmp_path, precision, monkeypatch):
    def fabric(_):
        """Of its own accord Fabric scales losses on a GPU alone."""
        scaler = torch.amp.GradScaler("cpu", init_scale=2**20, growth_interval=2)
        half = MixedPrecision(precision, "cpu", scaler if precision == "16-mixed" else None)
        return Fabric(accelerator="cpu", devices=1, plugins=[half])

    monkeypatch.setattr(Trainer, "fabric", fabric)
    trainer = TRAINER
    whole, parts = Run(tmp_path / "whole"), Run(tmp_path / "parts")
    end = load_checkpoint(whole.fit(trainer), "network")
    parts.stop_before = 3
    with pytest.raises(KeyboardInterrupt):
        parts.fit(trainer)
    parts.stop_before = -1
    again = load_checkpoint(parts.fit(trainer), "network")
    assert parts.losses == whole.losses
    same(end, again)
    assert end["scaler"] == again["scaler"]
    if precision == "16-mixed":
        assert end["scaler"]["scale"] != 2**20  # it moved, and was not begun anew


def same(one, other):
    """Two checkpoints hold the same numbers."""
    for key in ("model", "average"):
        assert all(torch.equal(one[key][name], other[key][name]) for name in one[key])
    moments = [each["optimizer"]["state"] for each in (one, other)]
    for index, state in moments[0].items():
        assert all(torch.equal(state[name], moments[1][index][name]) for name in state)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP, signal.SIGINT])
def test_a_signal_ends_the_step_and_writes_a_checkpoint(tmp_path, number):
    whole, parts = Run(tmp_path / "whole"), Run(tmp_path / "parts")
    end = load_checkpoint(whole.fit(), "network")

    def send(losses, step):
        if step == 2:  # a step after which no checkpoint is due
            os.kill(os.getpid(), number)
        return losses

    parts.spoil = send
    with pytest.raises(Stopped):
        parts.fit()
    assert load_checkpoint(parts.out / "last.pt", "network")["step"] == 3
    del parts.losses[2]
    parts.spoil = lambda losses, step: losses  # noqa: ARG005
    torch.manual_seed(99)
    again = load_checkpoint(parts.fit(), "network")
    assert {k: v for k, v in whole.losses.items() if k != 2} == parts.losses
    same(end, again)


def test_a_signal_in_a_validation_loses_no_step(tmp_path):
    whole, parts = Run(tmp_path / "whole"), Run(tmp_path / "parts")
    end = load_checkpoint(
        whole.fit(validation=scored(0.2, 0.5, 0.4)[0], validate_every=2), "network"
    )

    def sends(_):
        os.kill(os.getpid(), signal.SIGTERM)
        return {"mAP50": 1.0}  # never told: the signal was heard before

    with pytest.raises(Stopped):
        parts.fit(validation=sends, validate_every=2)
    last = load_checkpoint(parts.out / "last.pt", "network")
    assert (last["step"], last["unvalidated"], last["best"]) == (2, True, None)
    assert all(torch.equal(last["model"][k], v) for k, v in parts.network.state_dict().items())
    parts.fit(validation=scored(0.2, 0.5, 0.4)[0], validate_every=2)
    _, again, _ = CheckpointFolder(parts.out, "network", 2).newest()
    assert parts.losses == whole.losses
    same(end, again)
    assert again["best"] == 0.5
    assert not again["unvalidated"]


def test_a_validation_that_was_done_is_not_repeated(run):
    trainer = dataclasses.replace(TRAINER, checkpoint_every=100)
    run.stop_before = 3
    with pytest.raises(KeyboardInterrupt):  # before the next checkpoint
        run.fit(trainer, validation=scored(0.9)[0], validate_every=2)
    run.stop_before = -1
    run.fit(trainer, validation=scored(0.1, 0.3)[0], validate_every=2)
    assert load_checkpoint(run.out / "best.pt", "network")["step"] == 2


def test_a_record_that_cannot_be_read_costs_a_validation_alone(run):
    run.fit(validation=scored(0.9)[0], validate_every=6)
    (run.out / "validated.json").write_text("[")
    run.fit(validation=scored(0.9)[0], validate_every=6)
    assert (run.out / "best.pt").samefile(run.out / "last.pt")


@pytest.mark.parametrize("ends", ["signal", "lost worker"])
def test_what_ends_the_wait_for_a_batch_loses_no_step(tmp_path, ends):
    whole, parts = Run(tmp_path / "whole"), Run(tmp_path / "parts")
    end = load_checkpoint(whole.fit(), "network")

    def wait(batches):
        for step, batch in enumerate(batches):
            if step == 3:
                if ends == "lost worker":
                    raise WorkerLost("a worker was killed")
                threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM)).start()
                time.sleep(60)
            yield batch

    parts.delivered = wait
    began = time.monotonic()
    with pytest.raises(Stopped if ends == "signal" else WorkerLost):
        parts.fit()
    assert time.monotonic() - began < 20
    assert load_checkpoint(parts.out / "last.pt", "network")["step"] == 3
    parts.delivered = lambda batches: batches
    torch.manual_seed(99)
    same(end, load_checkpoint(parts.fit(), "network"))
    assert parts.losses == whole.losses


def test_changed_settings_of_the_optimizer_are_in_force(run):
    run.fit(dataclasses.replace(TRAINER, max_steps=2))
    run.optimizer_of = lambda network: adamw(network, lr=0.0, weight_decay=0.5)
    run.fit(dataclasses.replace(TRAINER, resume="changed"))
    last = load_checkpoint(run.out / "last.pt", "network")
    decays = {group["weight_decay"] for group in last["optimizer"]["param_groups"]}
    assert decays == {0.0, 0.5}
    before = load_checkpoint(run.out / "earlier" / "step_00000004.pt", "network")
    steps = {float(each["step"]) for each in last["optimizer"]["state"].values()}
    assert steps == {6.0}  # what it had learned is kept
    key = "class_head.1.weight"
    assert torch.equal(before["model"][key], last["model"][key])  # the new rate is 0


def test_another_kind_of_optimizer_starts_anew(run, capsys):
    run.fit(dataclasses.replace(TRAINER, max_steps=2))
    run.optimizer_of = lambda network: sgd(network, lr=1e-3, momentum=0.8, weight_decay=0.1)
    run.fit(dataclasses.replace(TRAINER, resume="changed"))
    assert "another kind of optimizer" in capsys.readouterr().out
    [group] = load_checkpoint(run.out / "last.pt", "network")["optimizer"]["param_groups"]
    assert (group["momentum"], group["weight_decay"]) == (0.8, 0.1)


def test_the_validation_at_the_end_is_made_up_for(run):
    def sends(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run.fit(validation=sends, validate_every=6)
    run.losses.clear()
    run.fit(validation=scored(0.7)[0], validate_every=6)
    assert not run.losses
    assert load_checkpoint(run.out / "best.pt", "network")["step"] == 6
    run.fit(validation=scored()[0], validate_every=6)  # and not once more


def test_a_damaged_checkpoint_falls_back_to_the_one_before(tmp_path, capsys):
    whole, parts = Run(tmp_path / "whole"), Run(tmp_path / "parts")
    whole.fit()
    parts.stop_before = 5
    with pytest.raises(KeyboardInterrupt):
        parts.fit()
    last = parts.out / "last.pt"
    last.write_bytes(last.read_bytes()[:-1000])
    parts.stop_before = -1
    torch.manual_seed(99)
    parts.fit()
    said = capsys.readouterr().out
    assert "last.pt is not a checkpoint of p2seg: it is cut short" in said
    assert "going on from" in said
    assert "step_00000002.pt" in said
    assert parts.losses == whole.losses


def test_a_last_checkpoint_that_is_gone_falls_back_to_the_one_before(tmp_path, capsys):
    whole, parts = Run(tmp_path / "whole"), Run(tmp_path / "parts")
    whole.fit()
    parts.stop_before = 5
    with pytest.raises(KeyboardInterrupt):
        parts.fit()
    (parts.out / "last.pt").unlink()
    (parts.out / "earlier" / "step_of_mine.pt").touch()  # nobody's business
    parts.stop_before = -1
    parts.fit()
    assert "there is no checkpoint" in capsys.readouterr().out
    assert parts.losses == whole.losses
    assert (parts.out / "earlier" / "step_of_mine.pt").exists()


def test_weights_alone_are_no_training(run):
    run.fit(dataclasses.replace(TRAINER, snapshots=(6,)))
    (run.out / "snapshots" / "step_000006.pt").replace(run.out / "last.pt")
    with pytest.raises(UserError, match="has weights, but no optimizer to train on with"):
        run.fit()


def test_an_average_that_is_new_begins_with_the_weights(run):
    run.fit(dataclasses.replace(TRAINER, ema=False, max_steps=2))
    run.fit(dataclasses.replace(TRAINER, max_steps=3, resume="changed"))
    last = load_checkpoint(run.out / "last.pt", "network")
    before = load_checkpoint(run.out / "earlier" / "step_00000002.pt", "network")["model"]
    key = "class_head.1.weight"
    wanted = 0.1 * before[key] + 0.9 * last["model"][key]
    torch.testing.assert_close(last["average"][key], wanted)


def test_two_checkpoints_are_kept(run):
    run.fit()
    assert [path.name for path in (run.out / "earlier").iterdir()] == ["step_00000004.pt"]


def test_told_to_it_goes_on_with_other_settings(run, capsys):
    run.stop_before = 3
    with pytest.raises(KeyboardInterrupt):
        run.fit()
    run.stop_before = -1
    other = CONTENT | {"config": {"seed": 0, "mdm": {"rounds": 1, "beta": 2.0}}}
    run.fit(dataclasses.replace(TRAINER, resume="changed"), content=other)
    assert "going on with other settings" in (said := capsys.readouterr().out)
    assert "mdm.beta was 3.0 and is 2.0" in said
    assert load_checkpoint(run.out / "last.pt", "network")["config"] == other["config"]


def test_settings_that_change_no_result_are_told(run, capsys):
    run.stop_before = 3
    with pytest.raises(KeyboardInterrupt):
        run.fit(content=CONTENT | {"settings": {"threads": 4}})
    run.stop_before = -1
    run.fit(content=CONTENT | {"settings": {"threads": 1}})
    assert "rounding: threads was 4 and is 1" in capsys.readouterr().out


@pytest.mark.parametrize("stop", [1, 3])
def test_tensorboard_shows_no_step_twice(run, stop):
    trainer = dataclasses.replace(TRAINER, log_every=1)
    run.stop_before = stop  # before the first checkpoint, and after it
    with pytest.raises(KeyboardInterrupt):
        run.fit(trainer)
    time.sleep(1.1)  # its files are named by the second
    run.stop_before = -1
    run.fit(trainer)
    events = EventAccumulator(str(run.out)).Reload()
    assert [event.step for event in events.Scalars("lr/0")] == [1, 2, 3, 4, 5, 6]


def test_curves_are_kept_as_far_as_the_checkpoint(tmp_path):
    """Killed, a process writes nothing of what it has in its hands."""
    code = """
import dataclasses, os, sys
from pathlib import Path
from training_runs import TRAINER, Run
run = Run(Path(sys.argv[1]))
def killed(losses, step):
    if step == 3:
        os._exit(9)
    return losses
run.spoil = killed
run.fit(dataclasses.replace(TRAINER, log_every=1))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], cwd=Path(__file__).parents[1]
    )
    assert done.returncode == 9
    time.sleep(1.1)
    run = Run(tmp_path)
    run.fit(dataclasses.replace(TRAINER, log_every=1))
    assert sorted(run.losses) == [2, 3, 4, 5]
    events = EventAccumulator(str(run.out)).Reload()
    assert [event.step for event in events.Scalars("loss/offset")] == [1, 2, 3, 4, 5, 6]
