"""Whether memory stays flat: the processes of the tools are watched as they work on many images."""

from __future__ import annotations

import subprocess
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from threading import Thread

import numpy as np
import torch
from PIL import Image

from devtools.benchmarks.measure import Row
from devtools.benchmarks.processes import Memory, check_proc, family_of, memory_of
from p2seg.data.coco import Category, ImageRecord
from p2seg.data.maps import map_path
from p2seg.data.points import PointSet, write_points
from p2seg.errors import UserError
from p2seg.runs.lifetime import naming_parent
from p2seg.structures import Points

SIDES = (32, 40)
"""(height, width) of the images, pixels."""
PICTURES = 64
"""Different images; every file name has its own file."""
PAUSE = 1.0
"""Seconds between two looks."""
WARM = 0.4
"""The part of a process's life that is not looked at: libraries load, caches fill."""
FLAT = 24.0
"""MiB that a process may gain after it is warm: some large pages, not something an image."""


@dataclass(frozen=True)
class Stage:
    """A command that works on every image.

    Attributes:
        name: of it.
        command: the words, the program first.
    """

    name: str
    command: Sequence[str]


@dataclass(frozen=True)
class Seen:
    """What one process had at one moment.

    Attributes:
        stage: the command's name.
        process: `main`, or `worker 1`, `worker 2`, ... in the order of their start.
        seconds: since the command began.
        memory: of the process, MiB.
        family: processes of the command at that moment: when one ends, what it shared becomes the
            others' own.
    """

    stage: str
    process: str
    seconds: float
    memory: Memory
    family: int = 1


def write_many(root: Path, images: int) -> None:
    """Writes tiny images with two objects each, first maps and clicks.

    Args:
        root: gets `images`, `semantic` and `points.json`.
        images: how many.
    """
    height, width = SIDES
    pictures, maps = zip(*map(_picture, range(PICTURES)), strict=True)
    records = [ImageRecord(k + 1, f"{k:06d}.png", height, width) for k in range(images)]
    for folder in ("images", "semantic"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for k, record in enumerate(records):
        (root / "images" / record.file_name).write_bytes(pictures[k % PICTURES])
        map_path(root / "semantic", record.file_name).write_bytes(maps[k % PICTURES])
    yx, labels = torch.tensor([[10.0, 10.0], [22.0, 28.0]]), torch.tensor([1, 2])
    points = [Points(yx, labels, torch.tensor([2 * k + 1, 2 * k + 2])) for k in range(images)]
    classes = [Category(1, "red"), Category(2, "blue")]
    write_points(root / "points.json", PointSet(records, classes, points))


def watched(stage: Stage, pause: float = PAUSE) -> list[Seen]:
    """Runs a command and looks at its processes again and again.

    Args:
        stage: the command.
        pause: seconds between two looks.

    Raises:
        UserError: the command failed; the sentence has what it said last.
    """
    check_proc()
    seen, names = [], dict[int, str]()
    with naming_parent():
        started = subprocess.Popen(
            stage.command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
    with started as running:
        began = time.perf_counter()
        output = _Tail(running)
        names[running.pid] = "main"
        while running.poll() is None:
            family = family_of(running.pid)
            for process in family:
                memory = memory_of(process)
                if memory is not None:
                    name = names.setdefault(process, f"worker {len(names)}")
                    now = time.perf_counter() - began
                    seen.append(Seen(stage.name, name, now, memory, len(family)))
            time.sleep(pause)
        said = output.last()
    if running.returncode:
        raise UserError(f"{stage.name} ended with code {running.returncode}: {said}")
    return seen


def gained(seen: Sequence[Seen]) -> float | None:
    """MiB of its own that a process gains after it is warm, by a line through what was seen.

    Returns:
        The gain; None if it was seen less than five times then.
    """
    if not seen:
        return None
    first, last = seen[0].seconds, seen[-1].seconds
    late = [each for each in seen if each.seconds >= first + WARM * (last - first)]
    usual = Counter(each.family for each in late).most_common(1)[0][0]
    late = [each for each in late if each.family == usual]
    if len(late) < 5:
        return None
    seconds = np.array([each.seconds for each in late])
    slope = np.polyfit(seconds - seconds[0], [each.memory.uss for each in late], 1)[0]
    return float(slope * (seconds[-1] - seconds[0]))


def rows_of(seen: Sequence[Seen], images: int) -> list[Row]:
    """A row a process that was seen long enough to tell."""
    rows = []
    for key in dict.fromkeys((each.stage, each.process) for each in seen):
        own = [each for each in seen if (each.stage, each.process) == key]
        gain = gained(own)
        if gain is not None:
            peak = max(each.memory.uss for each in own)
            took = own[-1].seconds - own[0].seconds
            name = ": ".join(key)
            rows.append(Row(name, "cpu", "USS", 0, 0, images, took, peak, gained_mb=gain))
    return rows


def check_flat(rows: Sequence[Row]) -> None:
    """Refuses a growing process.

    Raises:
        UserError: a process gained more than `FLAT`.
    """
    for row in rows:
        if row.gained_mb is not None and row.gained_mb > FLAT:
            raise UserError(
                f"{row.name} gained {row.gained_mb:.0f} MiB over {row.batch} images after it was "
                f"warm; flat is at most {FLAT:.0f}: something is kept of every image"
            )


def plain(seen: Sequence[Seen]) -> list[dict[str, object]]:
    """What was seen, as JSON holds it."""
    return [
        {
            "stage": each.stage,
            "process": each.process,
            "seconds": round(each.seconds, 2),
            **{name: round(value, 1) for name, value in asdict(each.memory).items()},
        }
        for each in seen
    ]


class _Tail:
    """Reads what a command says, so that it never waits, and keeps the end."""

    def __init__(self, running: subprocess.Popen[str]) -> None:
        self.lines: deque[str] = deque(maxlen=5)
        self.thread = Thread(target=self._read, args=(running,), daemon=True)
        self.thread.start()

    def _read(self, running: subprocess.Popen[str]) -> None:
        assert running.stdout is not None
        self.lines.extend(line.strip() for line in running.stdout)

    def last(self) -> str:
        """The last lines, on one."""
        self.thread.join()
        return " ".join(self.lines)


def _picture(seed: int) -> tuple[bytes, bytes]:
    """PNG files of noise with a red and a blue square, and of its map."""
    random = np.random.default_rng(seed)
    pixels = random.integers(60, 120, (*SIDES, 3), np.uint8)
    labels = np.zeros(SIDES, np.uint8)
    for label, (top, left), colour in ((1, (4, 4), (250, 60, 60)), (2, (16, 22), (60, 60, 250))):
        place = (slice(top, top + 12), slice(left, left + 12))
        labels[place], pixels[place] = label, colour
    files = []
    for array in (pixels, labels):
        stream = BytesIO()
        Image.fromarray(array).save(stream, "PNG")
        files.append(stream.getvalue())
    return files[0], files[1]
