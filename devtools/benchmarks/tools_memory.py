"""The commands that `devtools/bench.py memory` runs, small enough for a laptop."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from devtools.benchmarks import index
from devtools.benchmarks.measure import Row
from devtools.benchmarks.memory import Sample, Stage, plain, plot, rows_of, sampled, write_many
from p2seg.errors import UserError
from p2seg.runtime.files import atomic_path, write_json

TOOLS = Path(__file__).resolve().parents[2] / "tools"
BATCH = 40
SMALL = (
    *("data=custom", "data.num_classes=2", "data.workers=2", "trainer.accelerator=cpu"),
    *("trainer.picture_every=0", "trainer.checkpoint_every=100000"),
)
NETWORK = (
    *("model=tiny", "model.backbone=test_resnet", "model.width=8", "model.embedding=4"),
    *("model.dilations=[1,2]", "data.augment.crop=32", "data.short_side=36"),
    *("mdm.start_step=100", f"trainer.batch_size={BATCH}"),
)
SEGMENTOR = (
    *("segmentor=mask_rcnn_lean", "segmentor.short_side=32", "segmentor.long_side=48"),
    *(f"segmentor.batch_size={BATCH}", "segmentor.schedule.epochs=1"),
    *("segmentor.model.pyramid_channels=16", "segmentor.model.proposals_train=20"),
    *("segmentor.model.proposals_test=20", "segmentor.validate.every=null"),
)


def suite(images: int, listed: int, pause: float, out: Path | None) -> list[Row]:
    """Returns rows of the large index, and of every process of training and export.

    Args:
        images: number of tiny images; each is trained on and exported once.
        listed: images of the index.
        pause: seconds between two samples of the memory.
        out: next to it, the samples (`.seen.json`) and their plot (`.png`) are written.
    """
    if not sys.platform.startswith("linux"):
        raise UserError("the suite memory reads Linux's /proc; run it on Linux")
    rows = index.suite(listed, round(listed * index.INSTANCES / index.IMAGES))
    samples: list[Sample] = []
    with tempfile.TemporaryDirectory() as folder:
        write_many(Path(folder), images)
        for stage in stages_of(Path(folder), images):
            samples += sampled(stage, pause)
    if out is not None:
        write_json(out.with_suffix(".seen.json"), plain(samples))
        with atomic_path(out.with_suffix(".png")) as path:
            plot(samples, path)
    return [*rows, *rows_of(samples, images)]


def stages_of(root: Path, images: int) -> list[Stage]:
    """Returns the training of the network, the export, and the training of a segmentor."""
    data = (f"data.images={root}/images", f"data.points={root}/points.json")
    first = (*SMALL, *data, f"data.semantic={root}/semantic")
    steps = f"trainer.max_steps={max(1, images // BATCH)}"
    words = {
        "train": (*first, *NETWORK, steps, f"out={root}/network"),
        "gen_pseudo": (*first, f"out={root}/pseudo.json"),
        "train_segmentor": (
            *(*SMALL, *SEGMENTOR, data[0]),
            *(f"pseudo={root}/pseudo.json", f"out={root}/segmentor"),
        ),
    }
    return [
        Stage(name, [sys.executable, str(TOOLS / f"{name}.py"), *own])
        for name, own in words.items()
    ]
