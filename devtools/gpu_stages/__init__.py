"""The stages of devtools/gpu.py; the function `rows` of each module yields its results."""

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
"""Network settings of a rehearsal."""
Row = dict[str, Any]
"""`what` names the measurement; the other keys are column titles."""
Stage = Callable[["Setup"], Iterator[Row]]


@dataclass(frozen=True)
class Setup:
    """The setup of a stage.

    Attributes:
        device: the GPU, or the CPU in a rehearsal.
        rehearse: whether sizes are tiny.
        data: folder of nuclei images; None for the demo's.
        work: folder for temporary files.
        end: time at which the stage is killed, by `time.monotonic`.
    """

    device: torch.device
    rehearse: bool
    data: Path | None
    work: Path
    end: float

    @property
    def repeats(self) -> int:
        """The number of timed runs of each measurement."""
        return 1 if self.rehearse else 5


def start_tool(name: str, words: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
    """Starts a command of `tools/` with its output in `log`."""
    tool = [sys.executable, str(ROOT / "tools" / f"{name}.py"), *words]
    with log.open("ab") as stream:
        return subprocess.Popen(tool, stdout=stream, stderr=subprocess.STDOUT)


def attempt(what: str, measure: Callable[[], Row]) -> Row:
    """Returns a measured row; after an error, the row has the error and the stage continues."""
    try:
        return {"what": what, **measure()}
    except Exception as error:
        traceback.print_exc()
        return {"what": what, "error": one_line(error)}
    finally:
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def one_line(error: BaseException) -> str:
    """Returns the type of an exception and the start of its text."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
