"""The faults of chaos.py: kills, requests to stop, dead ranks, full disks."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from devtools.chaos_process import Disk, Process
from devtools.chaos_stages import Stage
from p2seg.runtime.content_fingerprint import cache_folder
from p2seg.runtime.preemption import RETRY

PATIENCE = 60.0
"""Most seconds that a job may run after one of its ranks has died."""

COUNTS = {
    "lost": "results lost",
    "overwritten": "inputs overwritten",
    "children": "living children",
    "leftovers": "leftover files",
}
"""The counts: attribute of a row with one sentence per event, and title."""


@dataclass
class Row:
    """The faults of one stage.

    Attributes:
        stage: name of the stage.
        fault: kind of the fault.
        times: number of faults.
        writing: number of faults during the write of a file.
        lost: one sentence per lost result.
        overwritten: inputs that were changed or removed.
        children: command lines of processes that outlived their command.
        leftovers: files that the last, successful run did not remove.
    """

    stage: str
    fault: str
    times: int = 0
    writing: int = 0
    lost: list[str] = field(default_factory=list)
    overwritten: list[str] = field(default_factory=list)
    children: list[str] = field(default_factory=list)
    leftovers: list[str] = field(default_factory=list)

    def add(self, other: Row) -> None:
        """Adds other faults of the same stage."""
        self.times += other.times
        self.writing += other.writing
        for name in COUNTS:
            getattr(self, name).extend(getattr(other, name))


@dataclass(frozen=True)
class Disturbed:
    """A stage with the result of an undisturbed run.

    Attributes:
        stage: the stage to disturb.
        expected: its result.
        start: seconds of a run that has nothing left to do.
        work: additional seconds of a whole run.
        files: its output files; see `files_of`.
    """

    stage: Stage
    expected: str
    start: float
    work: float
    files: frozenset[str]

    def kills(self, folder: Path, times: int, draw: random.Random) -> Row:
        """Kills the stage at random moments; every other kill waits for the write of a file."""
        return self._interrupted("killed (SIGKILL)", folder, times, draw, [signal.SIGKILL], -9)

    def requests(
        self, folder: Path, times: int, draw: random.Random, numbers: Sequence[signal.Signals]
    ) -> Row:
        """Sends signals at random moments; the stage must exit with the code for a restart."""
        names = ", ".join(number.name for number in numbers[:times])
        return self._interrupted(f"asked to stop ({names})", folder, times, draw, numbers, RETRY)

    def _interrupted(
        self,
        fault: str,
        folder: Path,
        times: int,
        draw: random.Random,
        numbers: Sequence[signal.Signals],
        wanted: int,
    ) -> Row:
        row, out, finished = Row(self.stage.name, fault), self.stage.out(folder), 0
        while row.times < times:
            process = Process(self.stage.command(out))
            moment = self.start * draw.uniform(0.5, 1) + self.work * draw.uniform(0, 0.5)
            writing = process.wait(moment, out if row.times % 2 else None)
            number = numbers[row.times % len(numbers)]
            process.send(number)
            code = process.end()
            row.children += process.outlived()
            if code == 0:  # the stage finished before the kill, so it starts from the beginning
                self._compare(row, out)
                _remove(out)
                finished = 0
                continue
            if code == -number and wanted != code:
                continue  # Python was still loading libraries
            row.times += 1
            row.writing += writing
            if code != wanted:
                row.lost.append(f"exit code {code}: {process.output[-300:]}")
            now = self.stage.progress(out)
            if now < finished:
                row.lost.append(f"{finished - now} of {finished} finished items")
            finished = now
        self._finish(row, out)
        return row

    def dead_rank(self, folder: Path, alike: Disturbed, draw: random.Random) -> Row:
        """Kills one of two ranks: the job must end soon, report it once, and be restartable.

        Args:
            folder: folder of the output.
            alike: the undisturbed run with two ranks.
            draw: selects the moment and the rank.
        """
        row, out = Row(self.stage.name, "one of two ranks killed"), self.stage.out(folder)
        while not row.times:
            process = Process(self.stage.command(out, 2))
            process.wait(
                alike.start * draw.uniform(0.6, 1) + alike.work * draw.uniform(0, 0.5), None
            )
            ranks = process.children
            if not process.is_running or not ranks:
                _remove(out)
                continue
            os.kill(draw.choice(ranks), signal.SIGKILL)
            row.times = 1
            try:
                if process.end(PATIENCE) == 0:
                    row.lost.append("the job succeeded with a dead rank")
            except subprocess.TimeoutExpired:
                row.lost.append(f"the job was still running after {PATIENCE:.0f} s")
            row.children += process.outlived()
            if process.output.count("another process of this run") > 1:
                row.lost.append("the dead rank was reported more than once")
        self._finish(row, out, 2, alike)
        return row

    def full_disk(self, disk: Disk, good: Path, share: float) -> Row:
        """Fills the disk: the stage must report it once, and resume when there is space.

        Args:
            disk: the disk of the output.
            good: folder of an undisturbed output.
            share: share of the space that the stage needs.
        """
        row, out = Row(self.stage.name, "disk full", times=1), self.stage.out(disk.folder)
        disk.resize(self.stage.room(good, share, one_file=not disk.is_mounted))
        process = Process(self.stage.command(out), disk.limit)
        code, output = process.end(), process.output
        row.children += process.outlived()
        reported = "No space left" in output or "File too large" in output
        if code != 2 or not reported or output.count("\n") != 1:
            row.lost.append(f"exit code {code}, stderr {output[-300:]!r}")
        before = self.stage.progress(out)
        disk.resize(None)
        process = Process(self.stage.command(out))
        code = process.end()
        row.children += process.outlived()
        if code or self.stage.progress(out) < before:
            row.lost.append(f"exit code {code}, or finished work was lost")
        self._compare(row, out)
        _remove(out)
        return row

    def _finish(
        self, row: Row, out: Path, processes: int = 1, alike: Disturbed | None = None
    ) -> None:
        """Repeats the same command, compares the result, and removes the output."""
        process = Process(self.stage.command(out, processes))
        code = process.end()
        row.children += process.outlived()
        if code:
            row.lost.append(f"exit code {code} at the end: {process.output[-300:]}")
        else:
            (alike or self)._compare(row, out)
        _remove(out)

    def _compare(self, row: Row, out: Path) -> None:
        """Compares a finished output with the undisturbed one."""
        row.leftovers += sorted(
            name for name in files_of(out) if _is_temporary(name) or name not in self.files
        )
        try:
            result = self.stage.result(out)
        except Exception as error:  # any error means that there is no result
            result = f"none, {error!r}"
        if result != self.expected:
            row.lost.append(f"another result: {result[:200]}, not {self.expected}")


def undisturbed(stage: Stage, folder: Path, processes: int = 1) -> Disturbed:
    """Runs a stage twice: the second run has nothing left to do.

    Raises:
        RuntimeError: the stage fails, or its second result differs.
    """
    out, seconds, results = stage.out(folder), [], []
    for _ in range(2):
        began = time.monotonic()
        process = Process(stage.command(out, processes))
        if process.end():
            raise RuntimeError(f"{stage.name} fails undisturbed: {process.output}")
        if left := [*process.outlived(), *filter(_is_temporary, files_of(out))]:
            raise RuntimeError(f"{stage.name} leaves files or processes undisturbed: {left}")
        seconds.append(time.monotonic() - began)
        results.append(stage.result(out))
    if results[0] != results[1]:
        raise RuntimeError(f"{stage.name} gives another result the second time")
    work = max(0.5, seconds[0] - seconds[1])
    return Disturbed(stage, results[0], seconds[1], work, frozenset(files_of(out)))


def files_of(out: Path) -> set[str]:
    """Returns the names of an output's files, of files next to it, and of temporary cache files.

    Names that differ between two runs without a fault are normalized: TensorBoard's files and the
    steps of checkpoints.
    """
    home, cache = out.parent, cache_folder()
    own = [each for each in home.iterdir() if each.name.lstrip(".").startswith(out.stem)]
    files = [file for each in own for file in (each, *each.rglob("*")) if not file.is_dir()]
    names = {file.relative_to(home).as_posix() for file in files}
    kept = cache.iterdir() if cache is not None and cache.is_dir() else ()
    names |= {f"cache/{each.name}" for each in kept if _is_temporary(each.name)}
    return {re.sub(r"(?<=step_)\d+|(?<=tfevents)\..*", "", name) for name in names}


def _is_temporary(name: str) -> bool:
    """Returns whether a file is a lock or temporary (`p2seg.runtime.temporary.temporary_name`)."""
    return any(part.startswith(".") for part in name.split("/"))


def _remove(out: Path) -> None:
    """Removes an output and the files next to it."""
    shutil.rmtree(out, ignore_errors=True)
    if out.suffix:
        for each in (*out.parent.glob(f"{out.stem}.*"), *out.parent.glob(f".{out.stem}*")):
            shutil.rmtree(each) if each.is_dir() else each.unlink()
