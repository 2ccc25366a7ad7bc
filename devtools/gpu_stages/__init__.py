"""The stages of devtools/gpu.py: each module's `rows` yields what was measured, row by row."""

from __future__ import annotations

import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[2]
TINY = (
    *("model.backbone=test_resnet", "model.width=8", "model.embedding=4", "model.dilations=[1,2]"),
    *("data.augment.crop=32", "trainer.batch_size=2"),
)
"""Settings of a network for a rehearsal."""
Row = dict[str, Any]
"""`what` was measured, and its figures by the titles of their columns."""
Stage = Callable[["Setup"], Iterator[Row]]


@dataclass(frozen=True)
class Setup:
    """What a stage runs with.

    Attributes:
        device: the GPU; in a rehearsal the CPU.
        rehearse: tiny sizes.
        data: folder of nuclei images; None: the demo's.
        work: a folder for its files.
        end: when the stage is killed, by `time.monotonic`.
    """

    device: torch.device
    rehearse: bool
    data: Path | None
    work: Path
    end: float

    @property
    def repeats(self) -> int:
        """Timed runs of each figure."""
        return 1 if self.rehearse else 5


def start_tool(name: str, words: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
    """Starts a command of `tools/`; what it prints goes to `log`."""
    tool = [sys.executable, str(ROOT / "tools" / f"{name}.py"), *words]
    with log.open("ab") as stream:
        return subprocess.Popen(tool, stdout=stream, stderr=subprocess.STDOUT)


def attempt(what: str, measure: Callable[[], Row]) -> Row:
    """One row; if measuring it fails, the row has the error, and the stage goes on."""
    try:
        return {"what": what, **measure()}
    except Exception as error:
        traceback.print_exc()
        return {"what": what, "error": one_line(error)}
    finally:
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def one_line(error: BaseException) -> str:
    """An exception's type and the start of its text."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
