"""Worker processes that send their results through sockets.

torch's `DataLoader` passes batches through shared memory, of which a container has 64 MB by
default. A worker that finds no room there leaves the training waiting forever. The queues of
`DataLoader` and of `ProcessPoolExecutor` may also stay locked if a worker is killed. Here each
worker has its own socket, so the end of a worker is the end of its socket.
"""

from __future__ import annotations

import io
import multiprocessing
import os
import pickle
import signal
import socket
import struct
import sys
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from multiprocessing.process import BaseProcess
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from p2seg.errors import UserError
from p2seg.runtime.lifetime import end_with
from p2seg.runtime.preemption import outlive_the_signal

Task = TypeVar("Task")
Result = TypeVar("Result")


class WorkerLost(UserError):
    """A worker process has ended before its time."""


@dataclass(frozen=True)
class _Worker:
    """A process, and this process's end of its socket."""

    process: BaseProcess
    stream: socket.socket


class Workers(Generic[Result]):
    """The results of a function of each task, in the order of the tasks.

    The processes start at once. `close` ends them.

    Args:
        function: runs in the workers.
        tasks: what it is called with; they may be endless.
        count: workers, at least 1.
        setting: how many workers there are, such as `data.workers`, for messages.
        ahead: tasks that a worker has at a time, at least 1. Results wait in the worker, or in
            its socket if they are small.
        start: how processes are started, `fork` or `spawn`; None: `fork` on Linux, else `spawn`.
        begin: called first in each worker, with its number from 0.
        patience: seconds that `close` waits for the tasks in progress.
    """

    def __init__(
        self,
        function: Callable[[Task], Result],
        tasks: Iterator[Task],
        count: int,
        *,
        setting: str,
        ahead: int = 2,
        start: str | None = None,
        begin: Callable[[int], None] | None = None,
        patience: float = 0.0,
    ) -> None:
        self._tasks: Iterator[Any] = tasks
        self._setting = setting
        self._patience = patience
        self._asked: deque[_Worker] = deque()
        self._workers: list[_Worker] = []
        usual = "fork" if sys.platform == "linux" else "spawn"
        context: Any = multiprocessing.get_context(start or usual)
        try:
            for number in range(count):
                self._start(context, (function, begin, number))
            for worker in self._workers * ahead:
                self._ask(worker)
        except BaseException:
            self.close()
            raise

    def __iter__(self) -> Iterator[Result]:
        return self

    def __next__(self) -> Result:
        """The next result.

        Raises:
            WorkerLost: its worker is dead.
            Exception: what the function raised.
        """
        if not self._asked:
            raise StopIteration
        worker = self._asked.popleft()
        try:
            made, value = _receive(worker.stream)
        except (EOFError, OSError) as error:
            raise WorkerLost(self._told(worker)) from error
        if not made:
            raise value
        self._ask(worker)
        result: Result = value
        return result

    def close(self) -> None:
        """Ends the processes. A thread that waits for a result gets `WorkerLost`."""
        for worker in self._workers:
            with suppress(OSError):
                worker.stream.shutdown(socket.SHUT_RDWR)  # what a worker sends now ends it
        end = time.monotonic() + self._patience
        for worker in self._workers:
            worker.process.join(timeout=max(0.0, end - time.monotonic()))
            worker.process.kill()
        for worker in self._workers:
            worker.process.join(timeout=5)
            worker.stream.close()

    def _start(self, context: Any, arguments: tuple[Any, ...]) -> None:
        ours, theirs = socket.socketpair()
        with theirs:  # an end that stays open in this process would hide the end of the worker
            process = context.Process(
                target=_serve, args=(os.getpid(), theirs, *arguments), daemon=True
            )
            process.start()
        self._workers.append(_Worker(process, ours))

    def _ask(self, worker: _Worker) -> None:
        for task in islice(self._tasks, 1):
            self._asked.append(worker)
            with suppress(OSError):  # the worker is dead, which the wait for its result reports
                _send(worker.stream, task)

    def _told(self, worker: _Worker) -> str:
        worker.process.join(timeout=5)
        code = worker.process.exitcode or 0
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else "has ended by itself"
        return (
            f"a worker process {how}; the usual reason is that the memory is full; set a smaller "
            f"{self._setting}=N, or {self._setting}=0 for no workers, and start the command again"
        )


def _serve(
    parent: int,
    stream: socket.socket,
    function: Callable[[Any], Any],
    begin: Callable[[int], None] | None,
    number: int,
) -> None:
    """What a worker does until the other end is closed."""
    end_with(parent)
    outlive_the_signal()
    torch.set_num_threads(1)
    if begin is not None:
        begin(number)
    with suppress(EOFError, ConnectionError):
        while True:
            task = _receive(stream)
            try:
                answer = True, function(task)
            except Exception as error:
                answer = False, _portable(error)
            _send(stream, answer)


def _portable(error: Exception) -> Exception:
    """The error, with its traceback as a note, or what can be said of one that cannot be sent."""
    if isinstance(error, UserError):
        return error
    told = "".join(traceback.format_exception(error))
    error.add_note(f"In a worker process:\n{told}")
    try:
        copy = pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(told)
    return error if type(copy) is type(error) else RuntimeError(told)


class _Pickler(pickle.Pickler):
    """Tensors as arrays, whose bytes travel beside the pickle without being copied."""

    def reducer_override(self, value: Any) -> Any:
        """How a tensor is pickled; everything else as ever."""
        if type(value) is Tensor:
            return torch.from_numpy, (value.numpy(),)
        return NotImplemented


def _send(stream: socket.socket, value: Any) -> None:
    """Writes a value: how many parts there are, their sizes in bytes, and the parts."""
    buffers: list[pickle.PickleBuffer] = []
    body = io.BytesIO()
    _Pickler(body, protocol=5, buffer_callback=buffers.append).dump(value)
    parts = [body.getbuffer(), *(each.raw() for each in buffers)]
    stream.sendall(struct.pack(f"=Q{len(parts)}Q", len(parts), *(each.nbytes for each in parts)))
    for part in parts:
        stream.sendall(part)


def _receive(stream: socket.socket) -> Any:
    """Reads a value that `_send` has written in a process of this run.

    Raises:
        EOFError: the other end is closed.
    """
    (count,) = struct.unpack("=Q", _bytes(stream, 8))
    body, *buffers = (
        _bytes(stream, size) for size in struct.unpack(f"={count}Q", _bytes(stream, 8 * count))
    )
    return pickle.loads(body, buffers=buffers)


def _bytes(stream: socket.socket, size: int) -> Any:
    """So many bytes, as an array of uint8 that may be written to."""
    made = np.empty(size, np.uint8)
    view = made.data
    while view:
        got = stream.recv_into(view, 0, socket.MSG_WAITALL)
        if not got:
            raise EOFError
        view = view[got:]
    return made
