"""A lost connection: the terminal closes, SIGHUP comes, and writes to the terminal fail."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tool_sets import QUICK

from p2seg.engine.checkpoint import load_checkpoint

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGHUP")
TOOLS = Path(__file__).resolve().parents[2] / "tools"
LONG = [*QUICK, "trainer.max_steps=100000", "trainer.checkpoint_every=90000", "trainer.log_every=1"]


def first_steps(stream):
    """Waits until a training shows how fast it is."""
    said = b""
    while b"images/s" not in said:
        said += os.read(stream, 1 << 12)


def start(command, **where):
    """Starts a command whose standard streams are given."""
    return subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL, **where)


def step_of(out):
    return load_checkpoint(out / "last.pt", "network")["step"]


@pytest.mark.parametrize(
    "by",
    [
        "shell",
        pytest.param("nohup", marks=pytest.mark.slow),
        pytest.param("sweep", marks=pytest.mark.slow),
    ],
)
def test_a_training_on_a_terminal_that_closes(made, tmp_path, by):
    """The kernel sends SIGHUP to the first process of the terminal; writes fail from then on."""
    master, terminal = os.openpty()
    out = tmp_path / "network"
    sweep = ["-m", "seed=0,1"] if by == "sweep" else []
    code = (
        "import fcntl, os, signal, sys, termios; os.setsid(); fcntl.ioctl(1, termios.TIOCSCTTY, 0);"
        f"signal.signal(signal.SIGHUP, signal.SIG_{'IGN' if by == 'nohup' else 'DFL'});"
        "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    )
    words = (TOOLS / "train.py", *sweep, *made.words, *LONG, f"out={out}")
    tool = start((sys.executable, "-c", code, *words), stdout=terminal, stderr=terminal)
    os.close(terminal)
    try:
        first_steps(master)
        os.close(master)
        if by == "nohup":
            with pytest.raises(subprocess.TimeoutExpired):
                tool.wait(1)
            tool.terminate()
        assert tool.wait(60) == 75
    finally:
        tool.kill()
        tool.wait()
    assert step_of(out.with_name("network_seed0") if sweep else out) > 0


@pytest.mark.slow
def test_a_training_whose_reader_ends(made, tmp_path):
    """Of `train | tee log`, tee dies of SIGHUP at once: the training loses no step."""
    out, (read, write) = tmp_path / "network", os.pipe()
    words = (TOOLS / "train.py", *made.words, *LONG, f"out={out}")
    tool = start((sys.executable, *words), stdout=write, stderr=write)
    os.close(write)
    try:
        first_steps(read)
        os.close(read)
        with pytest.raises(subprocess.TimeoutExpired):  # nobody has asked it to stop yet
            tool.wait(1)
        tool.send_signal(signal.SIGHUP)
        assert tool.wait(60) == 75
    finally:
        tool.kill()
        tool.wait()
    assert step_of(out) > 0
