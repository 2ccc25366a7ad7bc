"""Processes end with their parent, killed at a random moment or as soon as it has a child."""

from __future__ import annotations

import os
import random
import select
import signal
import subprocess
import sys
import threading
import time
from itertools import count
from pathlib import Path

import pytest

from p2seg.runtime.workers import Workers

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows keeps the number of a dead parent")
SOON = 20.0
"""Seconds after which a process must have ended, also one that still imports libraries."""


def double(number):
    time.sleep(0.001)
    return 2 * number


def work(start):
    """What a parent does until it is killed; its workers have its stdout."""
    for _ in Workers(double, count(), 2, setting="data.workers", start=start):
        print("result", flush=True)  # noqa: T201


def ended(stream):
    """Whether no process holds the other end of a pipe any more, or soon does not."""
    end = time.monotonic() + SOON
    while select.select([stream], [], [], max(0, end - time.monotonic()))[0]:
        if not os.read(stream, 1 << 16):
            return True
    return False


def fork_and_kill(moments, at_once):
    """Starts workers by fork in one process after another, and kills each of these.

    Args:
        moments: seconds after which it is killed.
        at_once: it is killed before its first worker can do anything.
    """
    for moment in moments:
        read, write = os.pipe()
        parent = os.fork()
        if not parent:
            os.close(read)
            os.dup2(write, 1)
            os.close(write)
            if at_once:
                os.register_at_fork(after_in_parent=lambda: os.kill(os.getpid(), signal.SIGKILL))
            work("fork")
        os.close(write)
        time.sleep(moment)
        if not at_once:
            os.kill(parent, signal.SIGKILL)
        os.waitpid(parent, 0)
        assert ended(read), f"a worker outlives its parent, killed after {moment} s"
        os.close(read)


@pytest.mark.parametrize("at_once", [pytest.param(False, marks=pytest.mark.slow), True])
def test_forked_workers_end_with_their_killed_parent(at_once):
    draw = random.Random(1)
    moments = [0.0] * 3 if at_once else [draw.uniform(0, 0.1) for _ in range(12)]
    code = f"from test_lifetime import fork_and_kill; fork_and_kill({moments}, {at_once})"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=Path(__file__).parent,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks for children in /proc")
@pytest.mark.parametrize("moment", ["importing", "working"])
def test_spawned_workers_end_with_their_killed_parent(moment):
    code = "from test_lifetime import work\nif __name__ == '__main__': work('spawn')"
    command = [sys.executable, "-c", code]
    with subprocess.Popen(
        command, cwd=Path(__file__).parent, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as parent:
        if moment == "working":
            assert parent.stdout.readline() == b"result\n"
        else:
            while len(children(parent.pid)) < 2:  # the first is multiprocessing's own
                time.sleep(0.01)
        parent.kill()
        assert ended(parent.stdout.fileno())


def children(pid):
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [child for task in tasks for child in task.read_text().split()]


def test_workers_outlive_the_thread_that_has_started_them():
    made = []
    thread = threading.Thread(
        target=lambda: made.append(Workers(double, iter(range(50)), 2, setting="data.workers"))
    )
    thread.start()
    thread.join()
    time.sleep(0.2)
    assert list(made[0]) == list(range(0, 100, 2))
    made[0].close()
