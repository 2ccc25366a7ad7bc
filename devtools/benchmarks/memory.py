"""Checks that memory stays flat: samples the processes of the tools during long runs."""

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
"""(height, width) of the images in pixels."""
PICTURES = 64
"""Number of different images; each file name is a separate file."""
PAUSE = 1.0
"""Seconds between two samples."""
WARM = 0.4
"""Share of a process's life that is ignored, because libraries load and caches fill."""
FLAT = 24.0
"""Most MiB that a warm process may gain: a few large pages, but nothing per image."""


@dataclass(frozen=True)
class Stage:
    """A command that processes every image.

    Attributes:
        name: of the stage.
        command: the program and its arguments.
    """

    name: str
    command: Sequence[str]


@dataclass(frozen=True)
class Sample:
    """The memory of one process at one time, in MiB.

    Attributes:
        stage: name of the command.
        process: `main`, or `worker 1`, `worker 2`, ... by start time.
        seconds: since the command started.
        uss: pages that no other process shares; they would be free after its end.
        pss: `uss` plus its share of every shared page.
        rss: all pages, shared or not.
        family: number of processes of the command at that time. When one ends, the pages that it
            shared become private pages of the others.
    """

    stage: str
    process: str
    seconds: float
    uss: float
    pss: float
    rss: float
    family: int = 1


def write_many(root: Path, images: int) -> None:
    """Writes tiny images with two objects each, initial semantic maps and clicks.

    Args:
        root: folder for `images`, `semantic` and `points.json`.
        images: number of images.
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


def sampled(stage: Stage, pause: float = PAUSE) -> list[Sample]:
    """Runs a command and samples the memory of its processes.

    Args:
        stage: the command.
        pause: seconds between two samples.

    Raises:
        UserError: the command failed; the message has the end of its output.
    """
    samples: list[Sample] = []
    names: dict[int, str] = {}
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
        with naming_parent():
            running = psutil.Popen(stage.command, stdout=output, stderr=subprocess.STDOUT)
        names[running.pid] = "main"
        began = time.perf_counter()
        while running.poll() is None:
            samples += _moment(stage.name, running, names, time.perf_counter() - began)
            time.sleep(pause)
        output.seek(0)
        last_lines = " ".join(line.strip() for line in output.readlines()[-5:])
    if running.returncode:
        raise UserError(f"{stage.name} ended with code {running.returncode}: {last_lines}")
    return samples


def _moment(
    stage: str, main: psutil.Process, names: dict[int, str], seconds: float
) -> list[Sample]:
    """Samples all processes of a command; new processes get a name."""
    samples: list[Sample] = []
    with suppress(psutil.Error):
        family = [main, *main.children(recursive=True)]
        for process in family:
            with suppress(psutil.Error):  # the process has ended
                memory = process.memory_full_info()
                name = names.setdefault(process.pid, f"worker {len(names)}")
                uss, pss, rss = (each / 2**20 for each in (memory.uss, memory.pss, memory.rss))
                samples.append(Sample(stage, name, seconds, uss, pss, rss, len(family)))
    return samples


def gained(samples: Sequence[Sample]) -> float | None:
    """Returns the MiB that a process gains after its warm-up, by a linear fit.

    Returns:
        The gain, or None with less than five samples.
    """
    if not samples:
        return None
    first, last = samples[0].seconds, samples[-1].seconds
    late = [each for each in samples if each.seconds >= first + WARM * (last - first)]
    usual = Counter(each.family for each in late).most_common(1)[0][0]
    late = [each for each in late if each.family == usual]
    if len(late) < 5:
        return None
    seconds = np.array([each.seconds for each in late])
    slope = np.polyfit(seconds - seconds[0], [each.uss for each in late], 1)[0]
    return float(slope * (seconds[-1] - seconds[0]))


def rows_of(samples: Sequence[Sample], images: int) -> list[Row]:
    """Returns one row per process that has enough samples."""
    rows = []
    for key in dict.fromkeys((each.stage, each.process) for each in samples):
        own = [each for each in samples if (each.stage, each.process) == key]
        gain = gained(own)
        if gain is not None:
            peak = max(each.uss for each in own)
            took = own[-1].seconds - own[0].seconds
            name = ": ".join(key)
            rows.append(Row(name, "cpu", "USS", 0, 0, images, took, peak, gained_mb=gain))
    return rows


def check_flat(rows: Sequence[Row]) -> None:
    """Rejects a process that grows.

    Raises:
        UserError: a process gained more than `FLAT`.
    """
    for row in rows:
        if row.gained_mb is not None and row.gained_mb > FLAT:
            raise UserError(
                f"{row.name} gained {row.gained_mb:.0f} MiB over {row.batch} images after "
                f"warm-up, above the limit of {FLAT:.0f}; find what it keeps of every image"
            )


def plain(samples: Sequence[Sample]) -> list[dict[str, object]]:
    """Returns the samples as JSON data."""
    return [
        {k: round(v, 2) if isinstance(v, float) else v for k, v in asdict(each).items()}
        for each in samples
    ]


def plot(samples: Sequence[Sample], path: Path) -> None:
    """Draws the private memory (USS) of every process over time, one panel per stage."""
    stages = list(dict.fromkeys(each.stage for each in samples))
    figure = Figure(figsize=(5 * len(stages), 3.2), layout="constrained")
    panels = figure.subplots(1, len(stages), squeeze=False)[0]
    for panel, stage in zip(panels, stages, strict=True):
        own = [each for each in samples if each.stage == stage]
        for process in dict.fromkeys(each.process for each in own):
            line = [(each.seconds, each.uss) for each in own if each.process == process]
            panel.plot(*zip(*line, strict=True), label=process)
        panel.set(title=stage, xlabel="seconds", ylabel="private memory (USS), MiB", ylim=(0, None))
        panel.legend()
    figure.savefig(path, format="png")


def _picture(seed: int) -> tuple[bytes, bytes]:
    """Returns PNG files of noise with a red and a blue square, and of its map."""
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
