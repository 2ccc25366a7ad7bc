"""One writer at a time, and what killed writers leave behind."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import filelock
import pytest
from tool_sets import QUICK, refused, works
from training_sets import training_set

from p2seg.errors import UserError
from p2seg.runtime import claims, temporary
from p2seg.runtime.claims import claim
from p2seg.runtime.files import atomic_path
from p2seg.runtime.temporary import place, sweep, temporary_name

ROOT = Path(__file__).resolve().parents[2]
HOLDER = """
import sys, time
from pathlib import Path
from p2seg.runtime.claims import claim
from p2seg.runtime.files import atomic_path
out, folder = Path(sys.argv[1]), sys.argv[2] == "folder"
with claim(out, folder=folder), atomic_path(out / "a" if folder else out) as temporary:
    temporary.write_text("half")
    print("ready", flush=True)
    time.sleep(100)
"""


@pytest.fixture
def holder():
    """Starts another process that writes an output and does not end: `holder(out, "folder")`."""
    started = []

    def start(out, kind):
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", HOLDER, str(out), kind]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        started.append(process)
        assert process.stdout.readline() == "ready\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def made(tmp_path):
    return training_set(tmp_path / "set")


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_second_writer_is_refused_at_once_and_named_the_first(holder, made, tmp_path, run_tool):
    first = holder(tmp_path / "out" / "a.json", "file")
    holder(tmp_path / "net", "folder")
    words = (*made.words, "trainer.accelerator=cpu", f"out={tmp_path}/out/a.json")
    began = time.monotonic()
    refused(
        run_tool("gen_pseudo", *words), f"is being written by process {first.pid} on", "another"
    )
    refused(run_tool("train", *made.words, *QUICK, f"out={tmp_path}/net"), "is being written by")
    assert time.monotonic() - began < 10
    # beside it, and reading, is free
    works(run_tool("gen_pseudo", *words[:-1], f"out={tmp_path}/out/b.json"))
    works(run_tool("gen_semantic", *made.words, "--check"))


def test_a_killed_writer_is_no_hindrance_and_its_half_file_goes(holder, tmp_path):
    out = tmp_path / "out"
    first = holder(out, "folder")
    with pytest.raises(UserError, match=f"process {first.pid} "), claim(out, folder=True):
        pass
    assert len(names(out)) == 2  # the lock and the half file
    first.send_signal(signal.SIGKILL)
    first.wait()
    with claim(out, folder=True):
        assert names(out) == [".lock"]
    assert not out.exists() or names(out) == []


def test_workers_that_outlive_a_killed_writer_are_waited_for(tmp_path, monkeypatch):
    """A fork has the lock too, until it notices that its parent is gone."""
    lock = filelock.FileLock(tmp_path / ".lock")
    lock.acquire()
    gone = {"place": place(), "host": "here", "pid": 2**22 + 1}
    (tmp_path / ".lock").write_text(json.dumps(gone))
    slept = []

    def sleep(seconds):
        slept.append(seconds)
        if len(slept) == 3:
            lock.release()

    monkeypatch.setattr(claims.time, "sleep", sleep)
    with claim(tmp_path, folder=True):
        pass
    assert len(slept) == 3


def test_ranks_of_one_run_are_one_writer(tmp_path, monkeypatch):
    step = {"SLURM_STEP_ID": "0", "SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "2"}
    with claim(tmp_path, folder=True):
        for environment in ({"RANK": "1"}, {"LOCAL_RANK": "1"}, {"NODE_RANK": "1"}, step):
            with monkeypatch.context() as patched:
                for name, value in environment.items():
                    patched.setenv(name, value)
                with claim(tmp_path, folder=True):
                    pass
        with pytest.raises(UserError, match="is being written by"), claim(tmp_path, folder=True):
            pass
    assert names(tmp_path) == []


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_used_without(tmp_path, monkeypatch, number):
    def refuse(self, **_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(filelock.FileLock, "acquire", refuse)
    ran = []
    with claim(tmp_path / "a", folder=True):
        ran.append(1)
    assert ran == [1]


def test_a_claim_ends_with_an_error_too(tmp_path):
    for _ in range(2):
        with pytest.raises(KeyError), claim(tmp_path / "a.json", folder=False):
            raise KeyError
    assert names(tmp_path) == []


def temporary_of(folder, pid, where=None, *, age=0.0, stem="a"):
    """Writes a temporary file as a process would leave it."""
    name = temporary_name(folder / f"{stem}.png").name
    own = f"~{place()}~{os.getpid()}~"
    assert own in name
    path = folder / name.replace(own, f"~{where or place()}~{pid}~")
    path.write_text("half")
    os.utime(path, (time.time() - age,) * 2)
    return path


def test_only_what_the_dead_have_left_is_removed(tmp_path, holder):
    (tmp_path / "deep").mkdir()
    dead = 2**22 + 1
    living = holder(tmp_path / "other" / "x", "file")
    gone = [
        temporary_of(tmp_path, dead),
        temporary_of(tmp_path / "deep", dead, stem="it's ~ a\nname"),
        temporary_of(tmp_path, 1, "elsewhere", age=2 * 24 * 3600),
    ]
    kept = [
        temporary_of(tmp_path, os.getpid()),
        temporary_of(tmp_path / "deep", living.pid),
        temporary_of(tmp_path, dead, "elsewhere", age=3600),
    ]
    for name in (".hidden", "~a~1~", ".a~b~c~01234567.png", f".a~{place()}~{dead}~0123.png"):
        kept.append(tmp_path / name)
        kept[-1].write_text("the user's")
    outside = tmp_path.parent / f"{tmp_path.name}_outside"
    outside.mkdir()
    kept.append(temporary_of(outside, dead))
    (tmp_path / "link").symlink_to(outside)
    sweep(tmp_path, deep=False)
    assert gone[1].exists()
    sweep(tmp_path)
    assert [path.exists() for path in gone] == [False] * 3
    assert all(path.exists() for path in kept)


def test_a_half_unpacked_folder_of_the_dead_goes_whole(tmp_path):
    folder = tmp_path / f".a~{place()}~{2**22 + 1}~01234567.tar"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "file").write_text("x")
    sweep(tmp_path)
    assert names(tmp_path) == []


def test_containers_with_numbers_of_their_own_are_other_machines(monkeypatch):
    def readlink(self):
        return Path("pid:[4026532001]")

    place.cache_clear()
    monkeypatch.setattr(temporary.Path, "readlink", readlink)
    there = place()
    place.cache_clear()
    assert there.endswith("-4026532001")


def test_two_machines_of_one_name_are_told_apart(monkeypatch):
    here, read_text = place(), Path.read_text

    def other(self, *words, **more):
        found = read_text(self, *words, **more)
        return found[::-1] if self.name == "boot_id" else found

    place.cache_clear()
    monkeypatch.setattr(temporary.Path, "read_text", other)
    there = place()
    place.cache_clear()
    assert there != here
    assert there.split("-")[0] == here.split("-")[0]


@pytest.mark.parametrize("kind", ["hard", "symbolic", "folder"])
def test_a_lock_that_is_a_link_harms_no_other_file(tmp_path, kind):
    victim, lock = tmp_path / "thesis.txt", tmp_path / "out" / ".lock"
    victim.write_text("years of work")
    lock.parent.mkdir()
    if kind == "hard":
        lock.hardlink_to(victim)
    elif kind == "symbolic":
        lock.symlink_to(victim)
    else:
        lock.mkdir()
    with (
        pytest.raises(UserError, match=r"\.lock should be a lock .* remove it"),
        claim(lock.parent, folder=True),
    ):
        pass
    assert victim.read_text() == "years of work"


@pytest.mark.parametrize("pid", ['"many"', "null", "[1]", "1.5", '"12"'])
def test_a_lock_whose_process_is_no_number_is_somebodys(tmp_path, monkeypatch, pid):
    lock = filelock.FileLock(tmp_path / ".lock")
    lock.acquire()
    (tmp_path / ".lock").write_text(f'{{"place": "{place()}", "host": "h", "pid": {pid}}}')
    with pytest.raises(UserError, match="by another process;"), claim(tmp_path, folder=True):
        pass
    lock.release()


def test_a_link_and_its_folder_have_one_claim(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    for one, two in (("real", "link"), ("link", "real")):
        with (
            claim(tmp_path / one, folder=True),
            pytest.raises(UserError, match="is being written by"),
            claim(tmp_path / two, folder=True),
        ):
            pass


@pytest.mark.parametrize("stem", ["a" * 250, "字" * 80, "ü" * 120, "a~b~1~0", ".x"])
def test_temporary_names_fit_and_are_known(tmp_path, stem):
    with atomic_path(tmp_path / f"{stem}.j") as half:
        half.write_text("x")
        assert temporary._TEMPORARY.match(half.name)["pid"] == str(os.getpid())
        assert half.suffix == ".j"
        sweep(tmp_path)
        assert half.exists()


@pytest.mark.slow
def test_a_folder_of_many_files_is_swept_in_a_second(tmp_path):
    for number in range(118_000):
        (tmp_path / f"{number}.png").touch()
    began = time.perf_counter()
    sweep(tmp_path)
    assert time.perf_counter() - began < 3
