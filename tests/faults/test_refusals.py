"""What the system refuses: read-only, gone, forbidden, in the way, too long, over the quota."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from tool_sets import QUICK, refused
from training_sets import training_set

from p2seg.errors import UserError, refusal
from p2seg.runtime.claims import claim
from p2seg.runtime.files import atomic_path, write_bytes, write_text
from p2seg.semantic import generate


@pytest.fixture
def made(tmp_path):
    return training_set(tmp_path / "set")


@pytest.fixture
def tools(made, run_tool):
    """Runs each of the tools that write, into a folder."""

    def run(name, out):
        words = {
            "train": (*QUICK, f"out={out}"),
            "gen_pseudo": ("trainer.accelerator=cpu", f"out={out}/a.json"),
            "gen_semantic": ("semantic=png", f"semantic.maps={made.semantic}", f"out={out}"),
        }[name]
        return run_tool(name, *made.words, *words)

    return run


TOOLS = ("train", "gen_pseudo", "gen_semantic")


@pytest.mark.parametrize("name", TOOLS)
def test_a_disk_that_can_only_be_read_is_told_before_any_work(disk, tools, name):
    (disk.path / "old").write_text("old")
    disk.remount("ro")
    for out in (disk.path, disk.path / "deep/er"):
        answer = tools(name, out)
        refused(answer, str(disk.path), "Read-only file system: this file system can only be read")
        assert all(line.startswith("method: ") for line in answer[1].splitlines())
    assert [path.name for path in disk.path.iterdir()] == ["old"]


@pytest.mark.parametrize("name", TOOLS)
def test_a_file_in_the_way_and_a_name_that_is_too_long(tmp_path, tools, name):
    (tmp_path / "file").write_text("mine")
    refused(tools(name, tmp_path / "file"), f"{tmp_path}/file", "file")
    refused(tools(name, tmp_path / "file" / "deeper"), f"{tmp_path}/file", "a file lies where")
    refused(tools(name, tmp_path / ("n" * 300)), "n" * 300, "too long", "give a shorter one")
    assert (tmp_path / "file").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "set"]


def test_a_disk_that_vanishes_in_the_middle(disk, tools, monkeypatch):
    """What lies below the mount is not taken for it."""
    out = disk.path / "maps"
    make_one, count = generate.make_one, []

    def unmounting(*arguments):
        count.append(1)
        if len(count) == 3:
            disk.unmount()
        return make_one(*arguments)

    monkeypatch.setattr(generate, "make_one", unmounting)
    refused(tools("gen_semantic", out), f"{out} was removed or unmounted while", "start again")
    assert len(count) == 4


def test_a_folder_that_is_removed_in_the_middle(tmp_path):
    out = tmp_path / "out"
    with pytest.raises(UserError, match="was removed or unmounted while"), claim(out, folder=True):
        shutil.rmtree(out)


def test_no_permission():
    """Root may write anywhere, so for a moment this is somebody else."""
    folder = Path(tempfile.mkdtemp())
    mine = folder / "mine"
    mine.mkdir(mode=0o755)
    folder.chmod(0o755)
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    if not root:
        mine.chmod(0o555)
    try:
        if root:
            os.seteuid(65534)
        with pytest.raises(PermissionError) as error:
            write_bytes(mine / "a", b"x")
        with pytest.raises(PermissionError) as claimed, claim(mine / "b.json", folder=False):
            pass
    finally:
        if root:
            os.seteuid(0)
        mine.chmod(0o755)
        left = list(mine.iterdir())
        shutil.rmtree(folder)
    assert left == []
    said = refusal(error.value)
    assert said.startswith(
        f"the system refused {mine}/a: Permission denied: you have no permission"
    )
    assert str(mine) in refusal(claimed.value)


@pytest.mark.parametrize(
    "name", ["ENOSPC", "EDQUOT", "EROFS", "EACCES", "ESTALE", "EIO", "ENOTDIR"]
)
def test_a_refusal_leaves_the_old_file_names_the_path_and_says_what_to_do(
    tmp_path, monkeypatch, name
):
    number = getattr(errno, name)
    write_text(tmp_path / "a", "old")

    def refuse(handle):
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", refuse)
        with pytest.raises(OSError) as error:  # noqa: PT011, its number is looked at below
            write_text(tmp_path / "a", "new")
    assert error.value.errno == number
    said = refusal(error.value)
    assert said.startswith(f"the system refused {tmp_path}/a: {os.strerror(number)}: ")
    assert len(said.split(": ")) >= 3
    assert "\n" not in said
    assert (tmp_path / "a").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_what_the_block_reads_keeps_its_own_name(tmp_path):
    with pytest.raises(FileNotFoundError) as error, atomic_path(tmp_path / "a"):
        (tmp_path / "input").read_bytes()
    assert error.value.filename == str(tmp_path / "input")

    def failing():
        with atomic_path(tmp_path / "a") as temporary:
            temporary.write_bytes(b"half")
            raise KeyError

    with pytest.raises(KeyError):  # a defect stays one: the disk takes more
        failing()
    assert list(tmp_path.iterdir()) == []


def test_a_mistake_leaves_no_empty_folders(tmp_path, run_tool):
    answer = run_tool("train", f"out={tmp_path}/a/b", "data=custom", "data.points=nowhere.json")
    refused(answer, "nowhere.json")
    assert list(tmp_path.iterdir()) == []


def test_commands_of_options_say_it_too(disk, run_tool):
    words = ["--out", disk.path / "d", "--train", "40", "--val", "1"]
    disk.fill(4)
    code, _, said = run_tool("prepare_synthetic", *words)
    assert code == 2
    assert "the disk is full; make room" in said
    assert str(disk.path / "d") in said
    assert [path.name for path in disk.path.rglob("*") if "~" in path.name] == []
    disk.empty()
    disk.remount("size=16m")
    assert run_tool("prepare_synthetic", *words)[0] == 0
