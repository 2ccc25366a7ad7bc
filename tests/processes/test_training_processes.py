"""A training over several processes is that of one with the same total batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from process_sets import MINUTE, nodes, running, succeed, torchrun
from semantic_sets import draw
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tool_sets import NETWORK
from training_sets import training_set

from p2seg.engine.checkpoint import load_checkpoint

TOTAL = 4
"""Images per step, of all processes together."""


def scalars(folder):
    """The losses of every step as TensorBoard has them, by name."""
    events = EventAccumulator(str(folder)).Reload()
    tags = [tag for tag in events.Tags()["scalars"] if tag.startswith("loss/")]
    return {tag: [each.value for each in events.Scalars(tag)] for tag in tags}


def alike(one, other, rtol):
    assert scalars(one).keys() == scalars(other).keys() != set()
    for tag, values in scalars(one).items():
        assert len(values) >= 6
        np.testing.assert_allclose(scalars(other)[tag], values, rtol=rtol, err_msg=tag)


def network(root, out, *more):
    """The words of a training of the network, a step of which ranks may share."""
    made = training_set(root, 9)
    batch = (f"trainer.batch_size={TOTAL}", "trainer.max_steps=6")
    own = ("trainer.log_every=1", "mdm.start_step=2", "model.norm=group", f"out={out}")
    return ["train", *made.words, *NETWORK, *batch, *own, *more]


def segmentor(root, out, *more):
    """The words of a training of SOLOv2, on images of one size."""
    draw(root, 5)
    batch = (f"segmentor.batch_size={TOTAL}", "segmentor.schedule.epochs=5")
    own = ("segmentor=solov2_lean", "trainer.log_every=1", "trainer.accelerator=cpu")
    own = (*own, "segmentor.resize.scale=[1,1]", "segmentor.short_side=64", "data.workers=0")
    data = ("data=custom", "data.num_classes=2", f"data.images={root}/images", f"out={out}")
    return ["train_segmentor", *data, *batch, *own, f"pseudo={root}/gt.json", *more]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "more"),
    [
        (network, ("mdm=best", "data.augment.crop=16")),  # many crops have no instance
        (network, ("mdm=bestie", "data.augment.crop=16")),
        (segmentor, ()),
    ],
)
def test_losses_are_those_of_one_process(tmp_path, words, more):
    root, alone = tmp_path / "set", tmp_path / "1"
    succeed(tmp_path, torchrun(1, words(root, alone, *more)))
    jobs = {"2": [torchrun(2, words(root, tmp_path / "2", *more))]}
    if "mdm=bestie" not in more:
        jobs["4"] = [torchrun(4, words(root, tmp_path / "4", *more))]
        jobs["hosts"] = nodes(2, 1, words(root, tmp_path / "hosts", *more))
    for name, commands in jobs.items():
        succeed(tmp_path, *commands)
        alike(alone, tmp_path / name, 5e-4)


@pytest.mark.slow
@pytest.mark.parametrize(("words", "group"), [(network, "trainer"), (segmentor, "segmentor")])
def test_processes_that_cannot_share_the_batch_are_told_so(tmp_path, words, group):
    with running(tmp_path, torchrun(3, words(tmp_path / "set", tmp_path / "out"))) as job:
        assert job.ended(2 * MINUTE) != [0], job.said
        told = f"{group}.batch_size={TOTAL} is the batch size"
        assert job.said.count(told) == 1, job.said
    assert not (tmp_path / "out" / "last.pt").exists()


@pytest.mark.slow
def test_the_ranks_of_a_mask_rcnn_draw_differently_and_always_the_same(tmp_path):
    """Its proposals are sampled: gradients are averaged, and no loss is that of one process."""
    root = tmp_path / "set"
    words = ("segmentor=mask_rcnn_lean", "trainer.checkpoint_every=3")
    states = []
    for name in ("a", "b"):
        succeed(tmp_path, torchrun(2, segmentor(root, tmp_path / name, *words)))
        states.append(load_checkpoint(tmp_path / name / "last.pt", "segmentor"))
    assert scalars(tmp_path / "a") == scalars(tmp_path / "b")
    assert torch.equal(states[0]["random"], states[1]["random"])
    assert not torch.equal(*states[0]["random"])
