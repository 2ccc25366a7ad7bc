"""Checks deterministic training: two equal runs, and one that is killed and resumed."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from devtools.chaos_stages import training_result
from devtools.gpu_stages import TINY, Row, Setup, attempt, start_tool
from p2seg.data.points import make_points, write_points
from p2seg.data.sets.synthetic import write_synthetic
from p2seg.data.sets.synthetic_shapes import CLASSES
from p2seg.data.sets.voc import read_voc
from p2seg.errors import UserError

IMAGES = 16


def rows(setup: Setup) -> Iterator[Row]:
    """Yields a row per precision: 50 steps of the paper's method with its rounds."""
    data = setup.work / "data"
    write_synthetic(data, 0, IMAGES, 1, 48 if setup.rehearse else 160)
    points = make_points(read_voc(data, "train", CLASSES), "inner", 0)
    write_points(data / "points.json", points)
    for precision in ("32-true",) if setup.rehearse else ("32-true", "bf16-mixed"):
        yield attempt(f"50 steps, {precision}", partial(_equal, setup, data, precision))


def _equal(setup: Setup, data: Path, precision: str) -> Row:
    began = time.monotonic()
    place = {name: setup.work / f"{name}_{precision}" for name in ("one", "other", "killed")}
    running = [_started(setup, data, precision, out) for out in place.values()]
    checkpoint = place["killed"] / "last.pt"
    while running[2].poll() is None and not checkpoint.is_file():
        time.sleep(0.02)
    was_running = running[2].poll() is None
    running[2].kill()
    running[2].wait()
    running[2] = _started(setup, data, precision, place["killed"])
    codes = [each.wait() for each in running]
    if any(codes):
        log = " ".join(out.with_suffix(".log").read_text("utf-8") for out in place.values())
        raise UserError(f"a training failed: {log.strip()[-300:]}")
    one, other, killed = (training_result(out, "network") for out in place.values())
    return {
        "two runs": "equal" if one == other else "differ",
        "killed and resumed": "equal" if one == killed else "differ",
        "killed while running": "yes" if was_running else "no",
        "seconds": time.monotonic() - began,
        **({"error": "the bits differ"} if not one == other == killed else {}),
    }


def _started(setup: Setup, data: Path, precision: str, out: Path) -> subprocess.Popen[bytes]:
    steps, every = (6, 2) if setup.rehearse else (50, 10)
    words = [
        *("data=custom", f"data.num_classes={len(CLASSES)}", f"data.images={data}/JPEGImages"),
        *(f"data.semantic={data}/SegmentationClass", f"data.points={data}/points.json"),
        *("model=tiny", "mdm=paper", f"mdm.start_step={steps // 5}", "data.augment.crop=128"),
        *("deterministic=true", f"trainer.precision={precision}", f"trainer.max_steps={steps}"),
        *(f"trainer.checkpoint_every={every}", "trainer.picture_every=0", "trainer.log_every=1"),
        *("data.workers=0" if setup.rehearse else "data.workers=2", f"out={out}"),
        *(f"trainer.accelerator={setup.device.type}", *(TINY if setup.rehearse else ())),
    ]
    return start_tool("train", words, out.with_suffix(".log"))
