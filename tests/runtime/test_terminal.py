"""What is printed to a closed terminal, or to a pipe without a reader, is dropped."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

CODE = """
import sys, warnings
from p2seg.runtime.progress import track
from p2seg.runtime.terminal import Terminal, drop_lost_outputs
sys.stdin.readline()  # until the other end is closed
warnings.warn("stays in stderr's buffer")
for number in track(range(200), "images", 200):
    Terminal().print(number)
    Terminal(stderr=True).print(number)
drop_lost_outputs()
sys.exit(75)
"""


@pytest.mark.parametrize("kind", ["terminal", "pipe"])
def test_a_program_outlives_its_output_and_keeps_its_exit_code(kind):
    if kind == "terminal":
        if os.name == "nt":
            pytest.skip("Windows has no such terminals")
        other, own = os.openpty()
    else:
        other, own = os.pipe()
    tool = subprocess.Popen(
        [sys.executable, "-c", CODE],
        stdin=subprocess.PIPE,
        stdout=own,
        stderr=own,
        start_new_session=True,
    )
    os.close(own)
    os.close(other)
    tool.communicate(b"\n", timeout=60)
    assert tool.returncode == 75
