"""A step whose gradient is not finite is never taken, and what is not finite is never kept."""

from __future__ import annotations

import dataclasses
import itertools
import math

import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision
from rank_sets import together
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn
from training_runs import TRAINER, Run, scored

from p2seg.engine.checkpoint import CheckpointFolder, load_checkpoint
from p2seg.engine.finite import not_finite
from p2seg.engine.gradients import LEAST_SCALE, GradientCheck
from p2seg.engine.optim import sgd
from p2seg.engine.trainer import Trainer
from p2seg.errors import UserError
from p2seg.runtime.ranks import Ranks


@pytest.fixture
def run(tmp_path):
    return Run(tmp_path)


def with_nan_gradient(loss):
    """The same value, but a gradient of NaN."""
    return loss + (loss * 0).sqrt()


def spoiling(run, *steps, seen=None):
    """Lets the gradients of steps of a run be NaN, and keeps the weights before them."""

    def spoil(losses, step):
        if step not in steps:
            return losses
        if seen is not None:
            seen.append([each.detach().clone() for each in run.network.parameters()])
        return losses | {"offset": with_nan_gradient(losses["offset"])}

    run.spoil = spoil


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("clip_norm", [10.0, None])
def test_a_gradient_that_is_not_finite_ends_the_run_before_the_step(run, clip_norm, precision):
    seen = []
    spoiling(run, 3, seen=seen)
    with pytest.raises(UserError, match=r"the gradient of step 3 is not finite") as error:
        run.fit(dataclasses.replace(TRAINER, clip_norm=clip_norm, precision=precision))
    assert "\n" not in str(error.value)
    assert all(math.isfinite(value) for value in run.losses[3])
    for loss in run.losses[3]:
        assert f" {loss}" in str(error.value)
    named = [each.file_name for each in run.dataset.images if each.file_name in str(error.value)]
    assert len(named) == 2
    assert all(map(torch.equal, seen[0], run.network.parameters()))  # no step was taken
    assert load_checkpoint(run.out / "last.pt", "network")["step"] == 2
    assert not_finite(load_checkpoint(run.out / "last.pt", "network")) is None
    run.spoil = lambda losses, step: losses  # noqa: ARG005
    assert load_checkpoint(run.fit(), "network")["step"] == 6


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_gradient_that_overflows_in_one_parameter_is_found(run, value):
    network = []

    def spoil(losses, step):
        if step == 1 and not network:
            network.append(run.network)
            [weight] = [p for n, p in run.network.named_parameters() if n == "class_head.1.bias"]
            weight.register_hook(lambda gradient: gradient * value)
        return losses

    run.spoil = spoil
    with pytest.raises(UserError, match=r"the gradient of step 1 is not finite"):
        run.fit(dataclasses.replace(TRAINER, clip_norm=None))


@dataclasses.dataclass(frozen=True)
class Pairs:
    """A batch of a line's points."""

    names: list
    x: torch.Tensor


def line(out, monkeypatch, spoiled, max_steps, scale=2.0**16):
    """Trains a line in 16-mixed precision; the gradients of some steps are NaN."""

    def fabric(_):
        """Of its own accord Fabric scales losses on a GPU alone."""
        scaler = torch.amp.GradScaler("cpu", init_scale=scale)
        return Fabric(
            accelerator="cpu", devices=1, plugins=[MixedPrecision("16-mixed", "cpu", scaler)]
        )

    monkeypatch.setattr(Trainer, "fabric", fabric)
    model, weights = nn.Linear(1, 1), []

    def batches_from(step):
        while True:
            yield Pairs([f"{step}.png"], torch.linspace(-1, 1, 8)[:, None])
            step += 1

    def losses_of(module, batch, step):
        weights.append(model.weight.detach().clone())
        loss = (module(batch.x) - (3 * batch.x - 1)).square().mean()
        return {"square": with_nan_gradient(loss) if spoiled(step) else loss}

    trainer = dataclasses.replace(
        TRAINER, max_steps=max_steps, checkpoint_every=1000, log_every=10, precision="16-mixed"
    )
    trainer.fit(
        trainer.fabric(),
        model,
        torch.optim.AdamW(model.parameters(), 0.05),
        lambda _: 1.0,
        batches_from,
        losses_of,
        out=out,
        content={"kind": "line"},
    )
    return weights


def test_half_precision_skips_single_steps_and_says_so(tmp_path, monkeypatch, capsys):
    weights = line(tmp_path, monkeypatch, lambda step: step in (2, 3, 14), 20, scale=2.0**10)
    taken = [not torch.equal(*pair) for pair in itertools.pairwise(weights)]
    assert [step for step, each in enumerate(taken) if not each] == [2, 3, 14]
    said = capsys.readouterr().out
    assert "step 10: 2 steps skipped" in said
    assert "step 20: 1 step skipped" in said
    saved = load_checkpoint(tmp_path / "last.pt", "line")
    assert saved["scaler"]["scale"] == 2.0**7
    assert not_finite(saved) is None
    events = EventAccumulator(str(tmp_path)).Reload()
    assert [each.value for each in events.Scalars("scaler/skipped")] == [2, 1]
    assert [each.value for each in events.Scalars("scaler/scale")] == [2.0**8, 2.0**7]


@pytest.mark.parametrize("spoiled", [lambda _: True, lambda step: step % 2 == 0])
def test_half_precision_does_not_skip_forever(tmp_path, monkeypatch, spoiled):
    with pytest.raises(UserError, match=r"trainer\.precision=bf16-mixed or 32-true") as error:
        line(tmp_path, monkeypatch, spoiled, 100, scale=LEAST_SCALE * 2**10)
    step = 10 if spoiled(1) else 20
    assert f"the gradient of step {step} is not finite on {step}.png" in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "last.pt").exists()


def test_a_norm_that_overflows_without_the_scaler_s_notice_ends_the_run():
    """Each gradient is finite, so the scaler would take the step; their squares are not."""
    large = torch.tensor(1e30, requires_grad=True)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    optimizer = torch.optim.SGD([large], 1.0)
    large.grad = torch.tensor(1e30)
    scaler.scale(torch.ones(()))
    scaler.unscale_(optimizer)
    check = GradientCheck(scaler, Ranks())
    with pytest.raises(UserError, match="the gradient of step 5 is not finite"):
        check.allows({"a": torch.ones(())}, torch.ones(()), torch.tensor(math.inf), ["a.png"], 5)


@pytest.mark.parametrize("loss", [math.nan, 1.0])
def test_all_ranks_end_with_the_sentence_that_names_the_images(loss):
    """The gradient is summed over the ranks, so it is not finite on any."""
    said = []

    def of_rank(ranks):
        own = torch.tensor(loss if ranks.rank == 1 else 1.0)
        check = GradientCheck(None, ranks)
        names = [f"{ranks.rank}a.png", f"{ranks.rank}b.png"]
        try:
            check.allows({"offset": own}, own, torch.tensor(math.nan), names, 7)
        except UserError as error:
            said.append(str(error))

    together(3, of_rank)
    assert len(said) == 3
    assert len(set(said)) == 1
    named = [name for name in ("0a", "0b", "1a", "1b", "2a", "2b") if f"{name}.png" in said[0]]
    if math.isnan(loss):
        assert said[0].startswith("the loss of step 7 is not finite (offset nan) on 1a.png, 1b.png")
        assert named == ["1a", "1b"]
    else:
        assert said[0].startswith("the gradient of step 7 is not finite")
        assert len(named) == 6


def test_all_ranks_skip_the_same_steps_of_half_precision():
    def of_rank(ranks):
        weight = torch.ones((), requires_grad=True)
        scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
        optimizer = torch.optim.SGD([weight], 1.0)
        scaler.scale(weight * math.nan).backward()  # all-reduced in a training
        scaler.unscale_(optimizer)
        check = GradientCheck(scaler, ranks)
        one = torch.ones(())
        allowed = check.allows({"a": one}, one, torch.tensor(math.nan), ["a.png"], 0)
        return allowed, scaler.get_scale(), check.counted(), check.counted()

    assert together(2, of_rank) == [(False, 2.0, 1, 0)] * 2


def after_steps(run, change):
    """Lets `change` see the network after each optimizer step, and the number of the step."""
    make, count = run.optimizer_of, itertools.count()

    def optimizer_of(network):
        optimizer = make(network)
        optimizer.register_step_post_hook(lambda *_: change(network, next(count)))
        return optimizer

    run.optimizer_of = optimizer_of


def variances(network):
    """The running variance of the first batch norm."""
    return next(v for name, v in network.named_buffers() if name.endswith("running_var"))


def test_weights_that_are_not_finite_are_never_written(run):
    """Loss and gradient are finite, and the step is too large for a float."""
    run.optimizer_of = lambda network: sgd(network, lr=3e38, weight_decay=0.0)
    run.spoil = lambda losses, step: {name: loss * 1e3 for name, loss in losses.items()}  # noqa: ARG005
    with pytest.raises(UserError, match=r"last\.pt is not written: after step 1 model\.") as error:
        run.fit(dataclasses.replace(TRAINER, max_steps=1, clip_norm=None))
    assert "\n" not in str(error.value)
    assert not [*run.out.rglob("*.pt")]


def test_statistics_of_batch_norms_count_as_weights(run):
    """They are not looked at in training mode, so losses and gradients stay finite."""

    def change(network, step):
        if step == 2:
            variances(network)[0] = math.inf

    after_steps(run, change)
    with pytest.raises(UserError, match=r"after step 4 model\.\S+\.running_var is not finite"):
        run.fit()
    assert [*run.losses] == [0, 1, 2, 3]
    assert all(math.isfinite(value) for values in run.losses.values() for value in values)
    saved = load_checkpoint(run.out / "last.pt", "network")
    assert saved["step"] == 2
    assert not_finite(saved) is None
    assert not (run.out / "earlier").exists()


def test_an_average_that_is_not_finite_is_never_written(run):
    """Each of two values is finite, and the way from one to the other is not."""

    def change(network, step):
        variances(network)[0] = -3e38 if step % 2 else 3e38

    after_steps(run, change)
    with pytest.raises(UserError, match=r"last\.pt is not written: after step 2 average\."):
        run.fit()
    assert not [*run.out.rglob("*.pt")]
    run.fit(dataclasses.replace(TRAINER, ema=False, max_steps=2))


def test_a_snapshot_of_weights_that_are_not_finite_is_never_written(run):
    def optimizer_of(network):
        with torch.no_grad():  # as in a damaged file of weights
            network.class_head[1].bias[0] = math.nan
        return sgd(network, lr=1e-3, weight_decay=0.0)

    run.optimizer_of = optimizer_of
    with pytest.raises(UserError, match=r"step_000000\.pt is not written: after step 0 "):
        run.fit(dataclasses.replace(TRAINER, snapshots=(0,)))
    assert not [*run.out.rglob("*.pt")]


def ruin(path, key):
    """Writes a checkpoint as a version without the checks would have done."""
    content = torch.load(path, weights_only=True)
    tensors = content[key]["state"][0] if key == "optimizer" else content[key]
    name = next(name for name, value in tensors.items() if value.numel() > 1)
    tensors[name].flatten()[0] = math.nan
    torch.save(content, path)


@pytest.mark.parametrize("key", ["model", "average", "optimizer"])
def test_the_checkpoint_before_a_ruined_one_is_resumed(tmp_path, capsys, key):
    whole, parts = Run(tmp_path / "whole"), Run(tmp_path / "parts")
    whole.fit()
    parts.stop_before = 5
    with pytest.raises(KeyboardInterrupt):
        parts.fit()
    ruin(parts.out / "last.pt", key)
    parts.stop_before = -1
    torch.manual_seed(99)
    end = parts.fit()
    said = capsys.readouterr().out
    assert "last.pt is not usable: " in said
    assert f"{key}." in said
    assert "step_00000002.pt" in said
    assert parts.losses == whole.losses
    assert not_finite(load_checkpoint(end, "network")) is None


def test_when_every_checkpoint_is_ruined_one_sentence_says_so(run):
    run.fit()
    for path in run.out.rglob("*.pt"):
        ruin(path, "model")
    with pytest.raises(UserError, match=r"no checkpoint of this training is usable") as error:
        run.fit()
    assert "resume=never" in str(error.value)
    assert "\n" not in str(error.value)
    last = run.fit(dataclasses.replace(TRAINER, resume="never"))
    assert not_finite(load_checkpoint(last, "network")) is None


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_not_finite_is_never_the_best(run, capsys, value):
    validation, _ = scored(value, 0.3, value)
    run.fit(validation=validation, validate_every=2)
    assert load_checkpoint(run.out / "best.pt", "network")["step"] == 4
    assert f"mAP50 of step 2 is {value}" in capsys.readouterr().out
    _, newest, _ = CheckpointFolder(run.out, "network", 2).newest()
    assert (newest["best"], newest["unvalidated"]) == (0.3, False)


def test_a_run_without_a_finite_score_has_no_best_and_validates_once(run):
    run.fit(validation=scored(math.nan)[0], validate_every=6)
    assert not (run.out / "best.pt").exists()
    run.fit(validation=scored()[0], validate_every=6)  # another score would be asked for
    longer = dataclasses.replace(TRAINER, max_steps=8, resume="changed")
    run.fit(longer, validation=scored(0.1)[0], validate_every=8)
    assert load_checkpoint(run.out / "best.pt", "network")["step"] == 8


def test_a_best_that_is_not_finite_is_forgotten(run):
    """A version that took NaN for the best could never replace it."""
    run.stop_before = 3
    with pytest.raises(KeyboardInterrupt):
        run.fit(validation=scored(0.9)[0], validate_every=2)
    content = torch.load(run.out / "last.pt", weights_only=True)
    torch.save(content | {"best": math.nan, "unvalidated": False}, run.out / "last.pt")
    (run.out / "validated.json").unlink()
    run.stop_before = -1
    run.fit(validation=scored(0.1, 0.05)[0], validate_every=2)
    assert load_checkpoint(run.out / "best.pt", "network")["step"] == 4
