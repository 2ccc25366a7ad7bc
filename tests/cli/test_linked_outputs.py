"""`out` as a symbolic link: the link stays, and what it points to is written."""

from __future__ import annotations

import os

import pytest
from tool_sets import QUICK, refused, works
from training_sets import training_set

from p2seg.engine.checkpoint import load_checkpoint
from p2seg.runtime.files import sha256


@pytest.fixture
def made(tmp_path):
    return training_set(tmp_path / "set")


@pytest.mark.parametrize("there", [True, False])
def test_a_linked_file_is_written_behind_the_link(made, tmp_path, run_tool, there):
    (tmp_path / "real").mkdir()
    words = (*made.words, "trainer.accelerator=cpu")
    if there:
        works(run_tool("gen_pseudo", *words, f"out={tmp_path}/real/a.json"))
    (tmp_path / "a.json").symlink_to("real/a.json")
    for name in ("a.json", "a.json", "real/a.json"):  # again, and by its own name
        works(run_tool("gen_pseudo", *words, f"out={tmp_path}/{name}"))
        assert (tmp_path / "a.json").is_symlink()
        assert not (tmp_path / "real" / "a.json").is_symlink()


def test_a_link_to_itself_is_one_sentence(made, tmp_path, run_tool):
    (tmp_path / "a.json").symlink_to("a.json")
    refused(run_tool("gen_pseudo", *made.words, f"out={tmp_path}/a.json"), "a.json")


def test_a_checkpoint_that_is_a_link_leaves_the_other_training_alone(made, tmp_path, run_tool):
    one, two = tmp_path / "one", tmp_path / "two"
    works(run_tool("train", *made.words, *QUICK, f"out={one}"))
    before = sha256(one / "last.pt")
    two.mkdir()
    (two / "last.pt").symlink_to("../one/last.pt")
    step = load_checkpoint(one / "last.pt", "network")["step"]
    works(
        run_tool(
            "train",
            *made.words,
            *QUICK,
            f"trainer.max_steps={step + 1}",
            "resume=changed",
            f"out={two}",
        )
    )
    assert sha256(one / "last.pt") == before
    assert not (two / "last.pt").is_symlink()
    earlier = [*(two / "earlier").iterdir()]
    assert [load_checkpoint(each, "network")["step"] for each in earlier] == [step]


def test_maps_that_are_links_leave_the_maps_behind_them_alone(made, tmp_path, run_tool):
    one, two = tmp_path / "one", tmp_path / "two"
    words = [word for word in made.words if not word.startswith("data.semantic")]
    works(run_tool("gen_semantic", *words, f"data.semantic={one}", "semantic=grabcut"))
    before = {file: sha256(file) for file in one.rglob("*.png")}
    assert before
    for file in before:
        link = two / file.relative_to(one)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(file, link.parent))
        file.write_bytes(file.read_bytes())
    run_tool("gen_semantic", *words, f"data.semantic={two}", "semantic=grabcut", "overwrite=true")
    assert {file: sha256(file) for file in one.rglob("*.png")} == before
