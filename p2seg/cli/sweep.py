"""Several settings of a command at once (`-m seed=0,1,2`): each job is a process of its own.

Hydra's launchers start the jobs: here one after the other, by `hydra/launcher=submitit_local` at
once, by `hydra/launcher=submitit_slurm` as jobs of a cluster.
"""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from p2seg.errors import UserError
from p2seg.runtime.lifetime import naming_parent
from p2seg.runtime.preemption import ASKED, RETRY, Stopped

FORWARDED = (*ASKED, getattr(signal, "SIGUSR2", signal.SIGINT), signal.SIGINT)
"""What ends a job early: the process below is told to write what it has (submitit takes USR2)."""


@dataclass(frozen=True)
class Sweep:
    """The task of Hydra's launchers: a job's settings in a process of its own.

    Attributes:
        command: the words that start it, as `python tools/train.py`.
        words: of the command line, those of Hydra itself left out.
        swept: the keys with several values.
    """

    command: list[str]
    words: list[str]
    swept: list[str]

    def __call__(self, cfg: DictConfig) -> None:
        """Runs a job.

        Raises:
            UserError: it failed; it has said why itself.
            SystemExit: it was told to stop, and can go on later.
        """
        given = (word.partition("=") for word in HydraConfig.get().overrides.task)
        of_job = {key: value for key, _, value in given}
        values = {key: of_job[key] for key in self.swept}
        words = [self._of_job(word, values) for word in self.words]
        tag = "_".join(_tag(key, value) for key, value in values.items())
        words += own_place(cfg, tag, self.swept)
        code = _call([*self.command, *words])
        if code == 130:
            raise KeyboardInterrupt
        if code == RETRY:
            raise SystemExit(RETRY)
        if code:
            told = " ".join(f"{key}={value}" for key, value in values.items())
            raise UserError(
                f"the job {told} failed with exit code {code}; it says why above, or in its log in "
                f"{HydraConfig.get().sweep.dir}/.submitit"
            )

    @staticmethod
    def _of_job(word: str, values: dict[str, str]) -> str:
        key = word.partition("=")[0]
        return f"{key}={values[key]}" if key in values else word


def own_place(cfg: DictConfig, tag: str, swept: Sequence[str]) -> list[str]:
    """The words that give a job a name, and an `out` where there is one, of its own.

    Args:
        cfg: of the job.
        tag: what tells it from the others.
        swept: keys with several values: what is chosen there is left as it is.
    """
    words = []
    if tag and "name" not in swept and "name" in cfg:
        words.append(f"name={cfg.name}_{tag}")
    if tag and "out" not in swept and cfg.get("out"):
        out = Path(cfg.out)
        words.append(f"out={out.with_name(f'{out.stem}_{tag}{out.suffix}')}")
    return words


def _tag(key: str, value: str) -> str:
    """A part of a file name: `seed=1` is `seed1`, `+exp=demo` is `demo`."""
    last = re.split(r"[./@+]", key)[-1]
    text = value if last == "exp" else f"{last}{value}"
    return re.sub(r"[^\w.]+", "-", text).strip("-.")


def _call(command: Sequence[str]) -> int:
    """The exit code of a command that is sent the signals of this process; 128 + n after one."""
    with _forwarded() as started:
        with naming_parent():
            # in a session of its own: signals of the terminal come from here, once
            started.append(subprocess.Popen(command, start_new_session=True))
        code = started[0].wait()
    return 128 - code if code < 0 else code


@contextmanager
def _forwarded() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Sends signals on to the process that is put into the list; the handler from before, such as
    submitit's, comes after it has ended. A signal that is ignored stays ignored."""
    before: dict[signal.Signals, Any] = {}
    started: list[subprocess.Popen[bytes]] = []
    heard: list[int] = []

    def handle(number: int, _: FrameType | None) -> None:
        if not started:
            raise Stopped(number)
        # no more than that: this process is within `wait`, which cannot be called twice
        started[0].send_signal(signal.SIGUSR1 if number == signal.SIGUSR2 else number)
        heard.append(number)

    for number in FORWARDED:
        if signal.getsignal(number) is not signal.SIG_IGN:
            before[number] = signal.signal(number, handle)
    try:
        yield started
    finally:
        for number, own in before.items():
            signal.signal(number, own)
    for number in heard[:1]:
        if callable(own := before[signal.Signals(number)]) and number != signal.SIGINT:
            own(number, None)
