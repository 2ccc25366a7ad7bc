"""Batches from worker processes: without shared memory, and never waiting for a dead worker."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

from p2seg.data.loader import StepSampler, batches
from p2seg.errors import UserError


class Maps(Dataset):
    """Samples of some MB each; the first sample of epoch 1 runs the given action."""

    def __init__(self, side=700, told=None):
        self.side = side
        self.told = told

    def __len__(self):
        return 8

    def __getitem__(self, key):
        if self.told is not None and key[0] == 1:
            self.told()
        return torch.full((self.side, self.side), key[1], dtype=torch.int64)


def made(workers=2, **options):
    return batches(Maps(**options), torch.stack, StepSampler(8, 4, seed=0), workers=workers)


def killed():
    os.kill(os.getpid(), signal.SIGKILL)


def unreadable():
    raise OSError(5, "Input/output error", "image.jpg")


class Odd(Exception):
    """Cannot be built from its own arguments, and so not be unpickled."""

    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")


def odd():
    raise Odd("this", "that")


def test_batches_need_no_shared_memory():
    loader = made()
    for batch in itertools.islice(loader, 3):
        assert batch.shape == (4, 700, 700)
        assert not batch.is_shared()
        batch += 1  # and may be written to
    loader.close()


@pytest.mark.parametrize("workers", [0, 2])
def test_everything_that_a_batch_holds_arrives_as_it_was(workers):
    parts = [
        torch.rand(3, 4).T,
        torch.empty(0, 4),
        torch.tensor(True),
        np.arange(5),
        "name",
        None,
    ]

    class One(Maps):
        def __getitem__(self, key):
            return parts

    loader = batches(One(), list, StepSampler(1, 1, seed=0), workers=workers)
    [found] = next(loader)
    loader.close()
    for got, wanted in zip(found, parts, strict=True):
        assert type(got) is type(wanted)
        if isinstance(wanted, torch.Tensor):
            assert got.dtype == wanted.dtype
            assert torch.equal(got, wanted)
        else:
            assert np.array_equal(got, wanted)


def test_a_killed_worker_ends_the_training_with_a_sentence():
    with pytest.raises(UserError, match=r"SIGKILL.*data\.workers=0"):
        list(itertools.islice(made(told=killed), 9))
    assert not multiprocessing.active_children()


def test_so_does_one_that_is_killed_while_it_writes():
    loader = made(workers=1)
    next(loader)
    time.sleep(0.5)  # three batches are made: two read ahead, one half written
    [worker] = multiprocessing.active_children()
    worker.kill()
    began = time.monotonic()
    with pytest.raises(UserError, match="SIGKILL"):
        list(itertools.islice(loader, 9))
    assert time.monotonic() - began < 10


def test_workers_end_with_the_loader_whatever_they_are_doing():
    loader = made(told=lambda: time.sleep(600))
    next(loader)
    began = time.monotonic()
    loader.close()
    assert time.monotonic() - began < 10
    assert not multiprocessing.active_children()


def test_what_a_worker_raises_is_raised_here_with_its_place():
    with pytest.raises(OSError, match="Input/output error") as error:
        list(itertools.islice(made(told=unreadable), 9))
    assert (error.value.errno, error.value.filename) == (5, "image.jpg")
    assert "in unreadable" in "".join(error.value.__notes__)
    with pytest.raises(RuntimeError, match="this and that"):
        list(itertools.islice(made(told=odd), 9))


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs Linux's unshare")
def test_a_container_with_hardly_any_shared_memory_is_enough():
    room = "mount -t tmpfs -o size=64k tmpfs /dev/shm"
    new = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c")
    if subprocess.run([*new, room], capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount")
    code = "from test_workers import made; batch = next(made(workers=4)); print(batch.shape)"
    done = subprocess.run(
        [*new, f'{room} && exec "{sys.executable}" -c "{code}"'],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "[4, 700, 700]" in done.stdout, done.stderr
