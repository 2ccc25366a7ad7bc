"""Trains on cell nuclei with mdm=best and mdm=paper, and measures the quality of the masks."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from functools import partial

from devtools.gpu_stages import TINY, Row, Setup, attempt, start_tool
from p2seg.engine.checkpoint import load_checkpoint
from p2seg.errors import UserError

STEPS = 3000
MOST_IMAGES = 200
EXPORT_SECONDS = 40
"""Seconds before the end of the stage at which trainings stop and masks are made."""


def rows(setup: Setup) -> Iterator[Row]:
    """Yields a row per method; both train at once, because neither fills a GPU."""
    began = time.monotonic()
    methods = ("best",) if setup.rehearse else ("best", "paper")
    training = {name: _pipeline(setup, name) for name in methods}
    while any(each.poll() is None for each in training.values()):
        if time.monotonic() > setup.end - EXPORT_SECONDS:
            for each in training.values():
                each.terminate()  # the training writes a checkpoint
                each.wait()
        time.sleep(0.2)
    exporting = {
        name: _pipeline(setup, name, f"ckpt={setup.work}/{name}/network/last.pt")
        for name in methods
        if not (setup.work / name / "report.json").is_file()
    }
    for name in methods:
        if name in exporting:
            exporting[name].wait()
        yield attempt(f"mdm={name}", partial(_scores, setup, name, began))


def _pipeline(setup: Setup, name: str, *more: str) -> subprocess.Popen[bytes]:
    """Starts the pipeline without a segmentor."""
    words = ["+exp=demo"]
    if setup.data is not None:
        content = json.loads((setup.data / "instances_train.json").read_text("utf-8"))
        every = -(-len(content["images"]) // MOST_IMAGES)
        words = ["+exp=real_nuclei", f"data.source={setup.data}", f"data.every={every}"]
    words += [
        *(f"mdm={name}", f"trainer.max_steps={STEPS}", "trainer.batch_size=8"),
        *("pipeline.segmentors=[]", "trainer.picture_every=0", "trainer.snapshots=[]"),
        *("trainer.checkpoint_every=500", "data.workers=6", "pipeline.rows=1"),
        *(f"data.root={setup.work / name}_data", f"out={setup.work / name}"),
    ]
    tiny = ("trainer.max_steps=2", "mdm.start_step=1", "export.flip=false", "export.edges=0")
    words += [*TINY, *tiny, "data.workers=0"] if setup.rehearse else []
    return start_tool("pipeline", [*words, *more], setup.work / f"{name}.log")


def _scores(setup: Setup, name: str, began: float) -> Row:
    report = setup.work / name / "report.json"
    if not report.is_file():
        log = (setup.work / f"{name}.log").read_text("utf-8").strip()
        raise UserError(f"the pipeline failed: {log[-300:]}")
    scores = json.loads(report.read_text("utf-8"))
    checkpoint = load_checkpoint(setup.work / name / "network" / "last.pt", "network")
    return {
        "steps": checkpoint["step"],
        "training seconds": scores["seconds"].get("train"),
        "seconds": time.monotonic() - began,
        "mean IoU": scores["mdm"]["quality"]["mean_iou"],
        "mean IoU of Eq. 1, no network": scores["control"]["quality"]["mean_iou"],
    }
