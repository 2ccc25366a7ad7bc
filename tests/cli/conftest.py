"""Fixtures of the tests that give tools bad input."""

from __future__ import annotations

import pytest
from tool_sets import QUICK
from training_sets import training_set


@pytest.fixture
def made(tmp_path):
    """Four good images; each test spoils them."""
    return training_set(tmp_path / "set")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("trained")


@pytest.fixture
def ckpt(home, run_tool):
    """A network trained for a step on the good images."""
    path = home / "network" / "last.pt"
    if not path.is_file():
        own = training_set(home / "set")
        code, _, error = run_tool("train", *own.words, *QUICK, f"out={path.parent}")
        assert (code, error) == (0, "")
    return path


@pytest.fixture
def tools(made, ckpt, tmp_path, run_tool):
    """Runs a tool on the spoilt set."""
    outputs = {
        "gen_semantic": ("semantic=grabcut", f"out={tmp_path}/maps"),
        "train": (f"out={tmp_path}/network",),
        "gen_pseudo": (f"ckpt={ckpt}", f"out={tmp_path}/pseudo.json"),
        "seeds": ("ckpt=none", f"out={tmp_path}/seeds.json"),
    }

    def run(name, *more):
        tool = "gen_pseudo" if name == "seeds" else name
        return run_tool(tool, *made.words, *QUICK, *outputs[name], *more)

    return run
