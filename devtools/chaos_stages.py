"""The stages that chaos.py disturbs: small ones, each with its result and its progress."""

from __future__ import annotations

import hashlib
import json
import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from p2seg.engine.checkpoint import CheckpointFolder
from p2seg.runtime.files import sha256
from p2seg.runtime.settings import flat

logging.getLogger("tensorboard").setLevel(logging.ERROR)  # hides warnings about restarts
TOOLS = Path(__file__).resolve().parent.parent / "tools"
NETWORK = (
    *("model=tiny", "model.backbone=test_resnet", "model.width=8", "model.embedding=4"),
    *("model.dilations=[1,2]", "data.augment.crop=48", "data.short_side=56"),
    *("trainer.accelerator=cpu", "trainer.log_every=1", "trainer.picture_every=0"),
    *("mdm.start_step=5", "optim.lr=1e-3"),
)


@dataclass(frozen=True)
class Stage:
    """One command on the small set.

    Attributes:
        name: of the stage.
        tool: its file in tools/.
        words: arguments without `out` and the number of processes.
        result: returns the result by the output's path; two runs must give equal results.
        progress: returns the amount of finished work by the output's path.
        is_file: whether the output is a file and not a folder.
    """

    name: str
    tool: str
    words: tuple[str, ...]
    result: Callable[[Path], str]
    progress: Callable[[Path], int]
    is_file: bool = False

    def out(self, folder: Path) -> Path:
        """Returns the path of the output in a folder."""
        return folder / "masks.json" if self.is_file else folder / self.name

    def room(self, good: Path, share: float, *, one_file: bool) -> int:
        """Returns a share of the bytes of a finished output.

        Args:
            good: folder of a finished output.
            share: 0..1.
            one_file: whether only the largest file counts.
        """
        out = self.out(good)
        files = [out] if self.is_file else [each for each in out.rglob("*") if each.is_file()]
        sizes = [-(-file.stat().st_size // 4096) * 4096 for file in files]
        return int(share * (max(sizes) if one_file else sum(sizes)))

    def command(self, out: Path, processes: int = 1) -> list[str]:
        """Returns the command; several processes share the work of one."""
        words = [f"{TOOLS / self.tool}.py", *self.words, *self._batch(), f"out={out}"]
        launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
        return [sys.executable, *(launch if processes > 1 else ()), *words]

    def _batch(self) -> list[str]:
        key = {"train": "trainer.batch_size", "train_segmentor": "segmentor.batch_size"}
        return [f"{key[self.tool]}=2"] if self.tool in key else []


class Inputs:
    """The input files of the stages, which no fault may change.

    Args:
        folders: folders of the files.
    """

    def __init__(self, *folders: Path) -> None:
        self._folders = folders
        self._known: dict[Path, str] = {}

    def changed(self) -> list[Path]:
        """Returns the files that were changed or removed since the last call."""
        files = (each for folder in self._folders for each in folder.rglob("*") if each.is_file())
        now = {file: sha256(file) for file in files}
        changed = [file for file in self._known if now.get(file) != self._known[file]]
        self._known = now
        return changed


def stages_of(home: Path, data: Path) -> list[Stage]:
    """Returns all stages in their order.

    Args:
        home: folder of the undisturbed results, which later stages read.
        data: folder of the set.
    """
    own = (
        *("data=custom", "data.num_classes=4", f"data.images={data}/images", "data.workers=1"),
        f"data.points={data}/points.json",
    )
    maps = f"data.semantic={home}/semantic"
    export = (f"ckpt={home}/train/last.pt", "export.flip=true", "export.edges=4")
    segmentor = (
        *("segmentor=mask_rcnn_lean", "segmentor.backbone=test_resnet", "segmentor.ema=true"),
        *("segmentor.short_side=64", "segmentor.long_side=96", "segmentor.schedule.epochs=3"),
        *("segmentor.model.pyramid_channels=16", "segmentor.copy_paste=0.5"),
        *("segmentor.model.proposals_train=20", "segmentor.model.proposals_test=20"),
        *(f"pseudo={home}/masks.json", f"data.val_gt={data}/instances_val.json"),
        *(f"data.val_images={data}/images", "trainer.checkpoint_every=4"),
    )
    train = ("trainer.max_steps=60", "trainer.checkpoint_every=4", "trainer.snapshots=[20]")
    network = (*own, *NETWORK)
    return [
        Stage("semantic", "gen_semantic", (*own, "semantic=grabcut"), _maps, _count_maps),
        Stage(
            "train",
            "train",
            (*network, maps, *train),
            partial(training_result, kind="network"),
            _step("network"),
        ),
        Stage(
            "export", "gen_pseudo", (*network, maps, *export), sha256, _count_masks, is_file=True
        ),
        Stage(
            "segmentor",
            "train_segmentor",
            (*network, maps, *segmentor),
            partial(training_result, kind="segmentor"),
            _step("segmentor"),
        ),
    ]


def _maps(out: Path) -> str:
    files = [*sorted(out.rglob("*.png")), out / "manifest.json"]
    return _digest([[file.name, sha256(file)] for file in files])


def _count_maps(out: Path) -> int:
    return sum(not file.name.startswith(".") for file in out.rglob("*.png"))


def training_result(out: Path, kind: str) -> str:
    """Returns a digest of the last checkpoint's numbers and of all logged losses."""
    newest = CheckpointFolder(out, kind, keep=2).newest()
    assert newest is not None
    numbers = {
        key: value.numpy().tobytes().hex() if isinstance(value, torch.Tensor) else str(value)
        for key, value in _leaves(newest[1]).items()
    }
    events = EventAccumulator(str(out), size_guidance={"scalars": 0}).Reload()
    losses = {
        # a stopped validation is repeated, so equal points of a curve count once
        tag: sorted({(event.step, event.value) for event in events.Scalars(tag)})
        for tag in events.Tags()["scalars"]
        if tag.startswith(("loss/", "val/"))
    }
    return f"checkpoint {_digest(numbers)[:16]}, curves {_digest(losses)[:16]}"


def _leaves(content: dict[str, Any]) -> dict[str, Any]:
    left_out = ("settings", "versions")
    return flat({key: value for key, value in content.items() if key not in left_out})


def _step(kind: str) -> Callable[[Path], int]:
    def progress(out: Path) -> int:
        newest = CheckpointFolder(out, kind, keep=2).newest()
        return 0 if newest is None else int(newest[1]["step"])

    return progress


def _count_masks(out: Path) -> int:
    """Returns the number of finished images, in the file or in its resume log."""
    if out.is_file():
        return len(json.loads(out.read_text())["images"])
    finished = set()
    for part in out.with_name(out.name + ".parts").glob("*.jsonl"):
        for line in part.read_text(errors="replace").splitlines():
            try:
                finished.add(json.loads(line)["item"])
            except (ValueError, KeyError):
                continue  # a kill cut the line
    return len(finished)


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()
