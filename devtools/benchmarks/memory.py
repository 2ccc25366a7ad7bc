"""Whether memory stays flat: the processes of the tools are watched as they work on many images."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import psutil
import torch
from matplotlib.figure import Figure
from PIL import Image

from devtools.benchmarks.measure import Row
from p2seg.data.coco import Category, ImageRecord
from p2seg.data.maps import map_path
from p2seg.data.points import PointSet, write_points
from p2seg.errors import UserError
from p2seg.runtime.lifetime import naming_parent
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
    """The memory of one process at one moment, MiB.

    Attributes:
        stage: the command's name.
        process: `main`, or `worker 1`, `worker 2`, ... in the order of their start.
        seconds: since the command began.
        uss: pages that no other process has; they would be free if the process ended.
        pss: the same, and a share of every shared page.
        rss: all pages, shared or not.
        family: processes of the command at that moment: when one ends, what it shared becomes the
            others' own.
    """

    stage: str
    process: str
    seconds: float
    uss: float
    pss: float
    rss: float
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
    seen: list[Seen] = []
    names: dict[int, str] = {}
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
        with naming_parent():
            running = psutil.Popen(stage.command, stdout=output, stderr=subprocess.STDOUT)
        names[running.pid] = "main"
        began = time.perf_counter()
        while running.poll() is None:
            seen += _moment(stage.name, running, names, time.perf_counter() - began)
            time.sleep(pause)
        output.seek(0)
        said = " ".join(line.strip() for line in output.readlines()[-5:])
    if running.returncode:
        raise UserError(f"{stage.name} ended with code {running.returncode}: {said}")
    return seen


def _moment(stage: str, main: psutil.Process, names: dict[int, str], seconds: float) -> list[Seen]:
    """What all processes of a command have now; new ones get a name."""
    seen: list[Seen] = []
    with suppress(psutil.Error):
        family = [main, *main.children(recursive=True)]
        for process in family:
            with suppress(psutil.Error):  # it has ended since
                memory = process.memory_full_info()
                name = names.setdefault(process.pid, f"worker {len(names)}")
                uss, pss, rss = (each / 2**20 for each in (memory.uss, memory.pss, memory.rss))
                seen.append(Seen(stage, name, seconds, uss, pss, rss, len(family)))
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
    slope = np.polyfit(seconds - seconds[0], [each.uss for each in late], 1)[0]
    return float(slope * (seconds[-1] - seconds[0]))


def rows_of(seen: Sequence[Seen], images: int) -> list[Row]:
    """A row a process that was seen long enough to tell."""
    rows = []
    for key in dict.fromkeys((each.stage, each.process) for each in seen):
        own = [each for each in seen if (each.stage, each.process) == key]
        gain = gained(own)
        if gain is not None:
            peak = max(each.uss for each in own)
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
        {k: round(v, 2) if isinstance(v, float) else v for k, v in asdict(each).items()}
        for each in seen
    ]


def plot(seen: Sequence[Seen], path: Path) -> None:
    """Draws own memory (USS) of every process over time, one panel per stage, as a PNG."""
    stages = list(dict.fromkeys(each.stage for each in seen))
    figure = Figure(figsize=(5 * len(stages), 3.2), layout="constrained")
    panels = figure.subplots(1, len(stages), squeeze=False)[0]
    for panel, stage in zip(panels, stages, strict=True):
        own = [each for each in seen if each.stage == stage]
        for process in dict.fromkeys(each.process for each in own):
            line = [(each.seconds, each.uss) for each in own if each.process == process]
            panel.plot(*zip(*line, strict=True), label=process)
        panel.set(title=stage, xlabel="seconds", ylabel="own memory (USS), MiB", ylim=(0, None))
        panel.legend()
    figure.savefig(path, format="png")


def _picture(seed: int) -> tuple[bytes, bytes]:
    """PNG files of noise with a red and a blue square, and of its map."""
    random = np.random.default_rng(seed)
    pixels = random.integers(60, 120, (*SIDES, 3), np.uint8)
    labels = np.zeros(SIDES, np.uint8)
    for label, (top, left), color in ((1, (4, 4), (250, 60, 60)), (2, (16, 22), (60, 60, 250))):
        place = (slice(top, top + 12), slice(left, left + 12))
        labels[place], pixels[place] = label, color
    files = []
    for array in (pixels, labels):
        stream = BytesIO()
        Image.fromarray(array).save(stream, "PNG")
        files.append(stream.getvalue())
    return files[0], files[1]
