"""chaos.py sees what is lost, and loses nothing of ours."""

from __future__ import annotations

import random
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parent.parent / "scripts"
COUNTER = """
import os, signal, sys, time
from pathlib import Path
kind, out = sys.argv[1], Path(sys.argv[2])
out.mkdir(exist_ok=True)
asked = []
signal.signal(signal.SIGTERM, lambda *_: asked.append(1))
done = len(list(out.glob("*.txt")))
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


@pytest.fixture(autouse=True)
def _scripts(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))


def counter(kind):
    """A stage that writes twenty files, in seconds."""
    from _chaos_stages import Stage

    @dataclass(frozen=True)
    class Counter(Stage):
        def command(self, out, processes=1):  # noqa: ARG002
            return [sys.executable, "-c", COUNTER, kind, str(out)]

    def result(out):
        return " ".join(file.read_text() for file in sorted(out.glob("*.txt")))

    return Counter("count", "none", (), result, lambda out: len(list(out.glob("*.txt"))))


@pytest.mark.parametrize(
    ("kind", "lost"),
    [("good", ""), ("forgets", "that were finished"), ("drifts", "another result")],
)
def test_what_kills_lose_is_seen(tmp_path, kind, lost):
    from _chaos_faults import undisturbed

    for folder in ("good", "killed"):
        (tmp_path / folder).mkdir()
    disturbed = undisturbed(counter(kind if kind == "drifts" else "good"), tmp_path / "good")
    disturbed = type(disturbed)(counter(kind), disturbed.expected, 0.1, 0.4)
    row = disturbed.kills(tmp_path / "killed", 3, random.Random(0))
    assert row.times == 3
    assert (lost in "; ".join(row.lost)) if lost else not row.lost
    assert not list((tmp_path / "killed").iterdir())


@pytest.mark.parametrize(("kind", "lost"), [("good", False), ("rude", True)])
def test_the_answer_to_a_request_is_looked_at(tmp_path, kind, lost):
    from _chaos_faults import Disturbed

    stage = counter(kind)
    expected = " ".join(f"False {step}" for step in range(20))
    row = Disturbed(stage, expected, 0.1, 0.4).requests(tmp_path, 2, random.Random(1))
    assert bool(row.lost) == lost


def test_inputs_that_change_are_seen(tmp_path):
    from _chaos_stages import Inputs

    files = [tmp_path / "data" / name for name in ("kept", "changed", "removed")]
    files[0].parent.mkdir()
    inputs = Inputs(tmp_path / "data", tmp_path / "made later")
    for file in files:
        file.write_text("old")
    for _ in range(2):
        inputs.remember()
    assert inputs.overwritten == []
    files[1].write_text("new")
    files[2].unlink()
    (tmp_path / "data" / "added").touch()
    for _ in range(2):
        inputs.remember()
    assert sorted(inputs.overwritten) == files[1:]


@pytest.mark.slow
def test_the_short_form():
    command = [sys.executable, str(SCRIPTS / "chaos.py"), "--short"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    assert "faults: 4, results lost: none, inputs overwritten: none" in done.stderr
