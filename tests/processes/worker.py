"""What a process of a test's job runs: tools, slowly or with a fault where the test wants one.

`worker.py '[["gen_semantic", "data.images=..."], ...]'` runs several tools; `worker.py WORDS` the
one that P2SEG_TEST_TOOL names, for jobs whose other processes Fabric starts with these words.
P2SEG_TEST_PAUSE is how many seconds each file takes; P2SEG_TEST_FAULT is `kill:RANK:CALL`, or
`error`, `mistake`, `nan` or `gradient` for `kill`: what the rank does when it computes losses that
many times.
"""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import sys
import time
from pathlib import Path

from p2seg.cli.main import main


def slow_down(seconds: float) -> None:
    """Every picture that is read and every file that is written takes a while."""
    from PIL import Image

    opened, replace = Image.open, Path.replace

    def slow_open(*given, **named):
        time.sleep(seconds)
        return opened(*given, **named)

    def slow_replace(self, target):
        time.sleep(seconds)
        return replace(self, target)

    Image.open, Path.replace = slow_open, slow_replace


def break_down(fault: str) -> None:
    """A rank dies, or sees what cannot be, in the middle of a training of the network."""
    from torch import distributed

    from p2seg.errors import UserError
    from p2seg.method.losses import P2SegLoss

    kind, rank, call = fault.split(":")
    compute, calls = P2SegLoss.__call__, []

    def losses(self, *given, **named):
        calls.append(None)
        made = compute(self, *given, **named)
        if len(calls) == int(call) and distributed.get_rank() == int(rank):
            if kind == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if kind == "error":
                raise RuntimeError("a fault of the test")
            if kind == "mistake":
                raise UserError("a mistake of the test; take it out")
            if kind == "nan":
                made["offset"] = made["offset"] * float("nan")
            else:  # the loss keeps its value
                made["offset"] = made["offset"] + (made["offset"] * 0).sqrt()
        return made

    P2SegLoss.__call__ = losses


if __name__ == "__main__":
    faulthandler.enable()
    if os.environ.get("P2SEG_TEST_PAUSE"):
        slow_down(float(os.environ["P2SEG_TEST_PAUSE"]))
    if os.environ.get("P2SEG_TEST_FAULT"):
        break_down(os.environ["P2SEG_TEST_FAULT"])
    own = os.environ.get("P2SEG_TEST_TOOL")
    for name, *words in [[own, *sys.argv[1:]]] if own else json.loads(sys.argv[1]):
        code = main([name, *words])
        if code:
            raise SystemExit(code)
