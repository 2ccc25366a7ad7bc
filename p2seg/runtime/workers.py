"""Worker processes that send their results through sockets.

torch's `DataLoader` passes batches through shared memory, of which a container has 64 MB by
default. If a worker runs out of it, the training waits forever. The queues of `DataLoader` and
`ProcessPoolExecutor` may also stay locked if a worker is killed. Here each worker has its own
socket, which is closed when the worker ends.
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
    """A worker process has ended unexpectedly."""


@dataclass(frozen=True)
class _Worker:
    """A process, and this process's end of its socket."""

    process: BaseProcess
    stream: socket.socket


class Workers(Generic[Result]):
    """An iterator over `function(task)` for each task, in the order of the tasks.

    The processes start at once. `close` ends them.

    Args:
        function: called in the workers.
        tasks: arguments of the calls; may be infinite.
        count: number of workers, at least 1.
        setting: the setting of `count`, such as `data.workers`, for messages.
        ahead: tasks per worker that are in progress or waiting, at least 1. Results wait in the
            worker, or in its socket if they are small.
        start: start method, `fork` or `spawn`; None: `fork` on Linux, else `spawn`.
        begin: called first in each worker, with the index of the worker.
        patience: seconds that `close` waits for tasks in progress.
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
            WorkerLost: the worker has ended.
            Exception: raised by the function.
        """
        if not self._asked:
            raise StopIteration
        worker = self._asked.popleft()
        try:
            success, value = _receive(worker.stream)
        except (EOFError, OSError) as error:
            raise WorkerLost(self._reason(worker)) from error
        if not success:
            raise value
        self._ask(worker)
        result: Result = value
        return result

    def close(self) -> None:
        """Ends the processes. A thread that waits for a result gets `WorkerLost`."""
        for worker in self._workers:
            with suppress(OSError):
                worker.stream.shutdown(socket.SHUT_RDWR)  # the next send ends the worker
        end = time.monotonic() + self._patience
        for worker in self._workers:
            worker.process.join(timeout=max(0.0, end - time.monotonic()))
            worker.process.kill()
        for worker in self._workers:
            worker.process.join(timeout=5)
            worker.stream.close()

    def _start(self, context: Any, arguments: tuple[Any, ...]) -> None:
        ours, theirs = socket.socketpair()
        with theirs:  # if this end stayed open here, the end of the worker would go unnoticed
            process = context.Process(
                target=_serve, args=(os.getpid(), theirs, *arguments), daemon=True
            )
            process.start()
        self._workers.append(_Worker(process, ours))

    def _ask(self, worker: _Worker) -> None:
        for task in islice(self._tasks, 1):
            self._asked.append(worker)
            with suppress(OSError):  # `__next__` reports the end of a worker
                _send(worker.stream, task)

    def _reason(self, worker: _Worker) -> str:
        worker.process.join(timeout=5)
        code = worker.process.exitcode or 0
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else "has ended by itself"
        return (
            f"a worker process {how}, usually because the memory is full; set a smaller "
            f"{self._setting}=N, or {self._setting}=0 for no workers, and start the command again"
        )


def _serve(
    parent: int,
    stream: socket.socket,
    function: Callable[[Any], Any],
    begin: Callable[[int], None] | None,
    number: int,
) -> None:
    """The main loop of a worker, until the other end of its socket is closed."""
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
    """The error with its traceback as a note, or a `RuntimeError` if it cannot be pickled."""
    if isinstance(error, UserError):
        return error
    text = "".join(traceback.format_exception(error))
    error.add_note(f"In a worker process:\n{text}")
    try:
        copy = pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(text)
    return error if type(copy) is type(error) else RuntimeError(text)


class _Pickler(pickle.Pickler):
    """Pickles tensors as NumPy arrays, whose bytes are sent out of band without a copy."""

    def reducer_override(self, value: Any) -> Any:
        """Overrides how tensors are pickled."""
        if type(value) is Tensor:
            return torch.from_numpy, (value.numpy(),)
        return NotImplemented


def _send(stream: socket.socket, value: Any) -> None:
    """Writes a value as the number of parts, the size of each part in bytes, and the parts."""
    buffers: list[pickle.PickleBuffer] = []
    body = io.BytesIO()
    _Pickler(body, protocol=5, buffer_callback=buffers.append).dump(value)
    parts = [body.getbuffer(), *(each.raw() for each in buffers)]
    stream.sendall(struct.pack(f"=Q{len(parts)}Q", len(parts), *(each.nbytes for each in parts)))
    for part in parts:
        stream.sendall(part)


def _receive(stream: socket.socket) -> Any:
    """Reads a value written by `_send` in a process of this run.

    Raises:
        EOFError: the other end is closed.
    """
    (count,) = struct.unpack("=Q", _bytes(stream, 8))
    body, *buffers = (
        _bytes(stream, size) for size in struct.unpack(f"={count}Q", _bytes(stream, 8 * count))
    )
    return pickle.loads(body, buffers=buffers)


def _bytes(stream: socket.socket, size: int) -> Any:
    """Reads `size` bytes into a writable array of dtype uint8."""
    array = np.empty(size, np.uint8)
    view = array.data
    while view:
        count = stream.recv_into(view, 0, socket.MSG_WAITALL)
        if not count:
            raise EOFError
        view = view[count:]
    return array
