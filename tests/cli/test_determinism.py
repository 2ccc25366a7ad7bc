"""One seed governs all: the same bits twice, other ones with another seed."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from tool_sets import NETWORK, SEGMENTOR, works

from p2seg.engine.checkpoint import load_checkpoint
from p2seg.runtime.determinism import seed_everything


@pytest.fixture(autouse=True)
def _off_again():
    yield
    seed_everything(0)


def drawn():
    return random.random(), float(np.random.rand()), float(torch.rand(()))  # noqa: NPY002


@pytest.mark.parametrize("seed", [0, 7, 2**63 - 1])
def test_the_global_generators_are_seeded(seed):
    seed_everything(seed)
    first = drawn()
    assert drawn() != first
    seed_everything(seed)
    assert drawn() == first
    assert not torch.are_deterministic_algorithms_enabled()
    seed_everything(seed, deterministic=True)
    assert drawn() == first
    assert torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize(
    ("tool", "deterministic", "searches"),
    [("train", False, True), ("train", True, False), ("gen_pseudo", False, False)],
)
def test_convolutions_of_one_size_are_searched_for(
    made, tmp_path, run_tool, tool, deterministic, searches
):
    """Whole images have many sizes: a search for each would take longer than it gains."""
    words = [*made.words, *NETWORK, "trainer.max_steps=1", f"deterministic={deterministic}"]
    more = {"gen_pseudo": ["ckpt=none", f"out={tmp_path}/pseudo.json"]}
    torch.backends.cudnn.benchmark = True
    works(run_tool(tool, *words, *more.get(tool, [f"out={tmp_path}/network"])))
    assert torch.backends.cudnn.benchmark is searches


def weights(path, kind):
    return load_checkpoint(path, kind)["model"]


def equal(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


def test_a_network(made, tmp_path, run_tool):
    def train(name, *more):
        words = (*made.words, *NETWORK, "deterministic=true", f"out={tmp_path}/{name}", *more)
        works(run_tool("train", *words))
        return weights(tmp_path / name / "last.pt", "network")

    first = train("a")
    torch.rand(5)
    assert equal(first, train("b"))
    assert equal(first, train("c", "data.workers=1"))
    assert not equal(first, train("d", "seed=1"))


@pytest.mark.parametrize(
    "segmentor",
    [
        "mask_rcnn_lean",
        pytest.param("solov2_lean", marks=pytest.mark.slow),
        pytest.param("mask2former_lean", marks=pytest.mark.slow),
    ],
)
def test_a_segmentor(made, tmp_path, run_tool, segmentor):
    masks = tmp_path / "masks.json"
    works(run_tool("gen_pseudo", *made.words, *NETWORK, f"out={masks}"))
    own = (
        SEGMENTOR if segmentor == "mask_rcnn_lean" else [f"segmentor={segmentor}", *SEGMENTOR[1:6]]
    )

    def train(name, *more):
        words = (*made.words, *NETWORK, *own, "segmentor.copy_paste=0.5", f"pseudo={masks}")
        more = ("deterministic=true", f"out={tmp_path}/{name}", *more)
        works(run_tool("train_segmentor", *words, *more))
        return weights(tmp_path / name / "last.pt", "segmentor")

    first = train("a")
    torch.rand(5)
    assert equal(first, train("b"))
    assert not equal(first, train("c", "seed=1"))
