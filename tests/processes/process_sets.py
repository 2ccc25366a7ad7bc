"""Jobs of several processes: started, watched, killed; and a small set that they work on."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from semantic_sets import Drawn, draw
from tool_sets import QUICK

from p2seg.engine.checkpoint import save_checkpoint
from p2seg.segmentors.mask_rcnn.model import build_mask_rcnn

ROOT = Path(__file__).resolve().parents[2]
WORKER = Path(__file__).with_name("worker.py")
MARK = "P2SEG_TEST_JOB"
SEGMENTOR = {
    "backbone": "test_resnet",
    "pretrained": False,
    "norm": "batch",
    "short_side": 64,
    "long_side": 128,
    "anchor_sizes": (12, 16, 24, 32),
    "pyramid_channels": 16,
    "pyramid_norm": True,
    "proposals_train": 30,
    "proposals_test": 30,
    "box_channels": 32,
    "mask_channels": (16,),
    "detections": 8,
}
MINUTE = 60.0
"""A job is over so soon after one of its processes died."""


class Job:
    """Commands that run side by side, such as the nodes of one job, and all that they start.

    Args:
        folder: their output goes to files there.
        commands: each a node.
        told: settings of `worker.py`, such as `fault="kill:1:3"`.
    """

    def __init__(self, folder: Path, *commands: Sequence[object], **told: object) -> None:
        self.mark = secrets.token_hex(8)
        environment = {k: v for k, v in os.environ.items() if k not in ("RANK", "WORLD_SIZE")}
        environment |= {MARK: self.mark, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        environment |= {f"P2SEG_TEST_{key.upper()}": str(value) for key, value in told.items()}
        self.files = [folder / f"{self.mark}.{node}.txt" for node in range(len(commands))]
        self.nodes = []
        for command, file in zip(commands, self.files, strict=True):
            with file.open("wb") as stream:
                self.nodes.append(
                    subprocess.Popen(
                        [str(word) for word in command],
                        env=environment,
                        cwd=folder,
                        stdout=stream,
                        stderr=subprocess.STDOUT,
                    )
                )

    @property
    def said(self) -> str:
        """All that its processes have printed."""
        return "\n".join(file.read_text(errors="replace") for file in self.files)

    @property
    def over(self) -> bool:
        return all(node.poll() is not None for node in self.nodes)

    def pids(self) -> dict[int, int]:
        """The process of each rank that torchrun has started; others of the job have no rank."""
        ranks = {}
        for pid, words in self._environments():
            rank = words.get("RANK" if "TORCHELASTIC_RUN_ID" in words else "LOCAL_RANK")
            if rank is not None and "WORLD_SIZE" in words:
                ranks.setdefault(int(rank), pid)  # its workers come later and have higher numbers
        return ranks

    def kill(self, rank: int) -> None:
        """What the kernel does to a process when memory runs out."""
        os.kill(self.pids()[rank], signal.SIGKILL)

    def until(self, happens: Callable[[], bool], seconds: float = 8 * MINUTE) -> bool:
        """Waits; False if the job was over before."""
        end = time.monotonic() + seconds
        while not happens():
            if self.over:
                return happens()
            assert time.monotonic() < end, f"nothing happened:\n{self.said}"
            time.sleep(0.01)
        return True

    def codes(self, seconds: float = 8 * MINUTE) -> list[int]:
        """The exit codes of the nodes; fails where the job takes longer."""
        end = time.monotonic() + seconds
        for node in self.nodes:
            try:
                node.wait(max(0.1, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                raise AssertionError(f"still runs after {seconds} s:\n{self.said}") from None
        return [node.returncode for node in self.nodes]

    def ended(self, seconds: float) -> list[int]:
        """The exit codes, when none of its processes is left; fails where that takes longer."""
        end = time.monotonic() + seconds
        codes = self.codes(seconds)
        while self.left():
            assert time.monotonic() < end, (
                f"{self.left()} still run after {seconds} s:\n{self.said}"
            )
            time.sleep(0.1)
        return codes

    def left(self) -> list[int]:
        """The processes of the job that still run."""
        return [pid for pid, _ in self._environments()]

    def end(self) -> None:
        """Ends whatever is left of it."""
        for pid in self.left():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for node in self.nodes:
            node.wait()

    def _environments(self) -> Iterator[tuple[int, dict[str, str]]]:
        for folder in sorted(Path("/proc").iterdir(), key=lambda path: path.name.zfill(9)):
            if not folder.name.isdecimal():
                continue
            try:
                text = (folder / "environ").read_bytes().decode(errors="replace")
            except OSError:  # it is gone, or somebody else's
                continue
            words = dict(word.split("=", 1) for word in text.split("\0") if "=" in word)
            if words.get(MARK) == self.mark:
                yield int(folder.name), words


@contextmanager
def running(folder: Path, *commands: Sequence[object], **told: object) -> Iterator[Job]:
    """A job that does not outlive the block."""
    job = Job(folder, *commands, **told)
    try:
        yield job
    finally:
        job.end()


def torchrun(processes: int, *stages: Sequence[object]) -> list[object]:
    """The command of a job on one machine: tools with their words, one after the other."""
    launch = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node")
    return [*launch, processes, WORKER, _json(stages)]


def nodes(count: int, processes: int, *stages: Sequence[object]) -> list[list[object]]:
    """The commands of a job on several machines, all of them this one."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    launch = (sys.executable, "-m", "torch.distributed.run", "--nnodes", count)
    meet = ("--rdzv-backend", "c10d", "--rdzv-endpoint", f"127.0.0.1:{port}", "--rdzv-id", port)
    meet = (*meet, "--local-addr", "127.0.0.1", "--nproc-per-node", processes)
    return [[*launch, *meet, WORKER, _json(stages)] for _ in range(count)]


def succeed(folder: Path, *commands: Sequence[object], **told: object) -> str:
    """Runs a job to its good end and gives what it said."""
    with running(folder, *commands, **told) as job:
        assert job.codes() == [0] * len(commands), job.said
        return job.said


def _json(stages: Sequence[Sequence[object]]) -> str:
    return json.dumps([[str(word) for word in stage] for stage in stages])


@dataclass(frozen=True)
class Work:
    """A set with ground truth, and a segmentor that has learned nothing and finds a lot."""

    drawn: Drawn
    segmentor: Path
    network: Path

    def maps(self, home: Path, *more: object) -> list[object]:
        """The words of GrabCut's maps."""
        return ["gen_semantic", *self._words(home), "semantic=grabcut", *more]

    def candidates(self, home: Path, *more: object) -> list[object]:
        """The words of a simulated segmenter's candidates, and of maps of them."""
        gt = f"semantic.gt={self.drawn.gt}"
        return ["gen_semantic", *self._words(home), "semantic=simulated", gt, *more]

    def export(self, home: Path, *more: object) -> list[object]:
        return ["gen_pseudo", *self._words(home), *QUICK, f"ckpt={self.network}", *more]

    def predict(self, home: Path, *more: object) -> list[object]:
        found = (f"images={self.drawn.images}", f"gt={self.drawn.gt}", f"out={home}/found")
        words = (f"ckpt={self.segmentor}", *found, "trainer.accelerator=cpu")
        return ["predict", *words, "predict.score=0", "predict.overlay_score=0", *more]

    def train(self, home: Path, *more: object) -> list[object]:
        return ["train", *self._words(home), *QUICK, f"out={self.network.parent}", *more]

    def score(self, home: Path, pred: Path, kind: str, *more: object) -> list[object]:
        return ["eval", f"gt={self.drawn.gt}", f"pred={pred}", f"kind={kind}", f"out={home}", *more]

    def _words(self, home: Path) -> list[str]:
        drawn = self.drawn
        return [
            *("data=custom", "data.num_classes=2", "semantic.workers=0", "trainer.accelerator=cpu"),
            *(f"data.images={drawn.images}", f"data.points={drawn.points}"),
            *(f"data.semantic={home}/maps", f"data.candidates={home}/candidates"),
        ]


def work(root: Path, count: int) -> Work:
    """Writes the set and the segmentor; the network is what `train` makes."""
    torch.manual_seed(0)
    builder = "p2seg.segmentors.mask_rcnn.model.build_mask_rcnn"
    drawn = draw(root, count)
    save_checkpoint(
        root / "segmentor.pt",
        {
            "kind": "segmentor",
            "config": {"segmentor": {"model": {"_target_": builder, **SEGMENTOR}}},
            "categories": [vars(category) for category in drawn.point_set.categories],
            "inputs": {},
            "step": 0,
            "model": build_mask_rcnn(2, **SEGMENTOR).state_dict(),
            "average": None,
        },
    )
    return Work(drawn, root / "segmentor.pt", root / "network" / "last.pt")


def files_below(folder: Path) -> dict[str, bytes]:
    """Everything that tools have made there."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and not path.name.startswith(".")  # a killed process's unfinished file
        and not path.name.endswith("run.json")  # it tells every start
    }
