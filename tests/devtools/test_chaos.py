"""devtools/chaos.py detects losses and reports none for a correct stage."""

from __future__ import annotations

import random
import re
import signal
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from devtools import chaos, chaos_faults, chaos_process
from devtools.chaos_faults import Disturbed, undisturbed
from devtools.chaos_stages import Inputs, Stage

COUNTER = """
import os, signal, subprocess, sys, time
from pathlib import Path
kind, out = sys.argv[1], Path(sys.argv[2])
out.mkdir(exist_ok=True)
asked = []
for number in (signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, lambda *_: asked.append(1))
done = len(list(out.glob("*.txt")))
if kind in ("tidy", "leaves"):
    for file in out.glob(".*~"):
        file.unlink()
if kind == "leaves" and done:
    (out / ".left~").touch()
if kind == "lives":
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
if kind == "forgets" and done:
    for file in out.glob("*.txt"):
        file.unlink()
    done = 0
for step in range(done, 20):
    time.sleep(0.01)
    part = out / f".{step}~"
    part.write_text(f"{kind == 'drifts' and done} {step}")
    time.sleep(0.01)
    part.replace(out / f"{step:02d}.txt")
    if asked:
        sys.exit(3 if kind == "rude" else 75)
"""


def counter(kind):
    """Returns a stage that writes twenty files in seconds."""

    @dataclass(frozen=True)
    class Counter(Stage):
        def command(self, out, processes=1):  # noqa: ARG002
            return [sys.executable, "-c", COUNTER, kind, str(out)]

    def result(out):
        return " ".join(file.read_text() for file in sorted(out.glob("*.txt")))

    return Counter("count", "none", (), result, lambda out: len(list(out.glob("*.txt"))))


@pytest.mark.parametrize(
    ("kind", "lost"),
    [("tidy", ""), ("forgets", "finished items"), ("drifts", "another result")],
)
def test_losses_after_kills_are_detected(tmp_path, kind, lost):
    row = killed(tmp_path, kind, "drifts" if kind == "drifts" else "tidy")
    assert row.times == 3
    assert (lost in "; ".join(row.lost)) if lost else not row.lost
    assert not list((tmp_path / "killed").iterdir())


def killed(tmp_path, kind, good):
    """Kills a stage of a kind three times; `good` is the kind of the undisturbed run."""
    for folder in ("good", "killed"):
        (tmp_path / folder).mkdir()
    disturbed = undisturbed(counter(good), tmp_path / "good")
    disturbed = replace(disturbed, stage=counter(kind), start=0.1, work=0.4)
    return disturbed.kills(tmp_path / "killed", 3, random.Random(0))


def test_leftover_temporary_files_are_detected(tmp_path):
    assert set(killed(tmp_path, "leaves", "tidy").leftovers) == {"count/.left~"}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks for children in /proc")
def test_surviving_children_are_detected_and_killed(tmp_path, monkeypatch):
    monkeypatch.setattr(chaos_process, "GRACE", 0.5)
    row = killed(tmp_path, "lives", "tidy")
    assert len(row.children) >= 3  # one after each kill, and after the last run
    assert not row.lost
    for told in row.children:
        pid = int(re.match(r"process (\d+): ", told)[1])
        assert not words_of(pid)


def words_of(pid):
    """Returns the command line of a process; empty if it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


@pytest.mark.parametrize(("kind", "lost"), [("tidy", False), ("rude", True)])
def test_the_exit_code_after_a_request_is_checked(tmp_path, kind, lost):
    stage = counter(kind)
    expected = " ".join(f"False {step}" for step in range(20))
    disturbed = Disturbed(stage, expected, 0.1, 0.4, frozenset())
    row = disturbed.requests(tmp_path, 2, random.Random(1), [signal.SIGTERM, signal.SIGHUP])
    assert row.fault == "asked to stop (SIGTERM, SIGHUP)"
    assert bool(row.lost) == lost


def test_every_count_is_in_the_last_line_and_in_the_exit_code(tmp_path, monkeypatch, capsys):
    for name, title in chaos_faults.COUNTS.items():
        row = chaos_faults.Row("train", "killed", 2, 0, **{name: ["this one"]})
        monkeypatch.setattr(chaos, "make_set", lambda *_, **__: None)
        monkeypatch.setattr(chaos, "short", lambda *_, row=row: iter([row]))
        with pytest.raises(SystemExit) as ended:
            chaos.main(["--short", "--work", str(tmp_path)])
        assert ended.value.code == 1
        told = capsys.readouterr().err.splitlines()
        assert f"{title}: this one" in told[0]
        assert told[-1].startswith("faults: 2, ")
        assert f"{title}: 1" in told[-1]


def test_changed_inputs_are_detected(tmp_path):
    files = [tmp_path / "data" / name for name in ("kept", "changed", "removed")]
    files[0].parent.mkdir()
    inputs = Inputs(tmp_path / "data", tmp_path / "made later")
    for file in files:
        file.write_text("old")
    assert [inputs.changed() for _ in range(2)] == [[], []]
    files[1].write_text("new")
    files[2].unlink()
    (tmp_path / "data" / "added").touch()
    assert sorted(inputs.changed()) == files[1:]
    assert inputs.changed() == []


@pytest.mark.slow
def test_the_short_form():
    command = [sys.executable, chaos.__file__, "--short"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    counts = ("results lost", "inputs overwritten", "living children", "leftover files")
    assert ", ".join(["faults: 5", *(f"{each}: none" for each in counts)]) in done.stderr
