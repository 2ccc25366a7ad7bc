"""Reads inputs in a child process, which may crash; the parent reports how it ended."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import random
import resource
import signal
import time
import traceback
import warnings
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType

import torch

from devtools.fuzzing.mutate import mutate, read_corpus
from devtools.fuzzing.targets import TARGETS, judge, place
from p2seg.runtime.lifetime import end_with

GRACE = 20.0
"""Seconds beyond a target's limit before a process without an answer is killed."""


class Hang(BaseException):
    """An input took too much processor time. No reader catches this exception."""


@dataclass
class Outcome:
    """The work of a process until its time was over or an input was a finding.

    Attributes:
        inputs: number of inputs.
        read: number of inputs that were read.
        finding: the last input, if it was neither read nor rejected.
        description: description of the finding.
    """

    inputs: int = 0
    read: int = 0
    finding: bytes | None = None
    description: str = ""


def run_mutations(
    name: str, corpus: Path, seed: str, seconds: float, folder: Path, megabytes: int
) -> Outcome:
    """Feeds mutations to a target until the time is over or an input is a finding.

    Args:
        name: of the target.
        corpus: folder of good and bad files.
        seed: random seed of the mutations.
        seconds: time limit.
        folder: working folder.
        megabytes: memory limit per input.
    """
    files = read_corpus(corpus)
    ours, theirs = multiprocessing.Pipe()
    context = multiprocessing.get_context("fork")  # so torch is imported only once
    arguments = (name, files, seed, seconds, folder, megabytes, theirs)
    child = context.Process(target=_feed, args=arguments, daemon=True)
    child.start()
    theirs.close()
    outcome, patience = Outcome(), TARGETS[name].seconds + GRACE
    while True:
        if not ours.poll(patience):
            child.kill()
            outcome.description = f"no answer for {patience:g} seconds"
            break
        try:
            message = ours.recv()
        except EOFError:  # the process has crashed or is done
            child.join()
            outcome.description = (
                f"the process ended with exit code {child.exitcode}" if child.exitcode else ""
            )
            break
        outcome.inputs, outcome.read, outcome.description = message
        if outcome.description:
            break
    child.join()
    if outcome.description:
        outcome.finding = (folder / "current").read_bytes()
    return outcome


def run_input(name: str, content: bytes, folder: Path, megabytes: int) -> tuple[bool, str]:
    """Feeds one input in a separate process.

    Args:
        name: of the target.
        content: of the file.
        folder: working folder.
        megabytes: memory limit.

    Returns:
        Whether it is a finding, and a description: "read", the message, or the failure.
    """
    ours, theirs = multiprocessing.Pipe()
    child = multiprocessing.get_context("fork").Process(
        target=_one, args=(name, content, folder, megabytes, theirs), daemon=True
    )
    child.start()
    theirs.close()
    if not ours.poll(TARGETS[name].seconds + GRACE):
        child.kill()
        return True, f"no answer for {TARGETS[name].seconds + GRACE:g} seconds"
    try:
        answer: tuple[bool, str] = ours.recv()
    except EOFError:
        child.join()
        return True, f"the process ended with exit code {child.exitcode}"
    child.join()
    return answer


def _one(name: str, content: bytes, folder: Path, megabytes: int, say: Connection) -> None:
    _prepare(megabytes)
    with contextlib.suppress(Exception):
        TARGETS[name].read(folder)  # imports the late modules
    say.send(_try(name, content, folder / "input", megabytes))


def _feed(
    name: str,
    corpus: list[bytes],
    seed: str,
    seconds: float,
    folder: Path,
    megabytes: int,
    say: Connection,
) -> None:
    _prepare(megabytes)
    (folder / "current").write_bytes(corpus[0])
    with contextlib.suppress(Exception):
        judge(TARGETS[name], place(name, corpus[0], folder / "input"))  # imports the late modules
    end, read, number, last = time.monotonic() + seconds, 0, 0, 0.0
    while time.monotonic() < end:
        content = mutate(random.Random(f"{seed}/{name}/{number}"), corpus)
        (folder / "current").write_bytes(content)
        trouble, words = _try(name, content, folder / "input", megabytes)
        number += 1
        read += words == "read"
        if trouble:
            say.send((number, read, words))
            return
        if time.monotonic() - last > 1:
            last = time.monotonic()
            say.send((number, read, ""))
    say.send((number, read, ""))


def _prepare(megabytes: int) -> None:
    """Sets the limits of this process and hides the output of libraries."""
    parent = multiprocessing.parent_process()
    if parent is not None and parent.pid is not None:
        end_with(parent.pid)
    torch.set_num_threads(1)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + (3 * megabytes << 20)  # above the measured limit
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    signal.signal(signal.SIGPROF, _ring)
    warnings.simplefilter("ignore")
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 2)


def _ring(_: int, __: FrameType | None) -> None:
    raise Hang


def _try(name: str, content: bytes, folder: Path, megabytes: int) -> tuple[bool, str]:
    target = TARGETS[name]
    path = place(name, content, folder)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    signal.setitimer(signal.ITIMER_PROF, target.seconds)
    try:
        words = judge(target, path)
    except Hang:
        return True, f"more than {target.seconds:g} seconds of processor time"
    except BaseException:
        return True, traceback.format_exc()
    finally:
        with contextlib.suppress(Hang):
            signal.setitimer(signal.ITIMER_PROF, 0)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10
    if grown > megabytes:
        return True, f"{words}\nit took {grown} MB"
    return False, words
