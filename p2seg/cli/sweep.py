"""Sweeps over settings (`-m seed=0,1,2`): each job is a process.

Hydra's launchers start the jobs: the default one after the other, `hydra/launcher=submitit_local`
in parallel, `hydra/launcher=submitit_slurm` on a cluster.
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
"""Signals that ask a job to save its state and stop; submitit sends USR2."""


@dataclass(frozen=True)
class Sweep:
    """The task of a launcher: runs one job in a new process.

    Attributes:
        command: command line that starts the command, such as `python tools/train.py`.
        arguments: arguments of the command, without Hydra's options.
        swept: keys with several values.
    """

    command: list[str]
    arguments: list[str]
    swept: list[str]

    def __call__(self, cfg: DictConfig) -> None:
        """Runs a job.

        Raises:
            UserError: the job failed; it has printed the reason.
            SystemExit: the job was asked to stop, and can be resumed.
        """
        overrides = (each.partition("=") for each in HydraConfig.get().overrides.task)
        of_job = {key: value for key, _, value in overrides}
        values = {key: of_job[key] for key in self.swept}
        arguments = [self._of_job(each, values) for each in self.arguments]
        tag = "_".join(_tag(key, value) for key, value in values.items())
        arguments += own_place(cfg, tag, self.swept)
        code = _call([*self.command, *arguments])
        if code == 130:
            raise KeyboardInterrupt
        if code == RETRY:
            raise SystemExit(RETRY)
        if code:
            job = " ".join(f"{key}={value}" for key, value in values.items())
            raise UserError(
                f"the job {job} failed with exit code {code}; the reason is printed above, or in "
                f"its log in {HydraConfig.get().sweep.dir}/.submitit"
            )

    @staticmethod
    def _of_job(override: str, values: dict[str, str]) -> str:
        key = override.partition("=")[0]
        return f"{key}={values[key]}" if key in values else override


def own_place(cfg: DictConfig, tag: str, swept: Sequence[str]) -> list[str]:
    """Overrides that give a job its own name, and its own `out` if there is one.

    Args:
        cfg: configuration of the job.
        tag: text that distinguishes the job from the others.
        swept: keys with several values, which are not changed.
    """
    arguments = []
    if tag and "name" not in swept and "name" in cfg:
        arguments.append(f"name={cfg.name}_{tag}")
    if tag and "out" not in swept and cfg.get("out"):
        out = Path(cfg.out)
        arguments.append(f"out={out.with_name(f'{out.stem}_{tag}{out.suffix}')}")
    return arguments


def _tag(key: str, value: str) -> str:
    """A part of a file name: `seed=1` is `seed1`, `+exp=demo` is `demo`."""
    last = re.split(r"[./@+]", key)[-1]
    text = value if last == "exp" else f"{last}{value}"
    return re.sub(r"[^\w.]+", "-", text).strip("-.")


def _call(command: Sequence[str]) -> int:
    """The exit code of a command to which signals are forwarded; 128 + n after signal n."""
    with _forwarded() as started:
        with naming_parent():
            # in its own session, so that a signal of the terminal arrives only once, from here
            started.append(subprocess.Popen(command, start_new_session=True))
        code = started[0].wait()
    return 128 - code if code < 0 else code


@contextmanager
def _forwarded() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Forwards signals to the process in the list, and calls the previous handler, such as that of
    submitit, after the process has ended. An ignored signal stays ignored.
    """
    before: dict[signal.Signals, Any] = {}
    started: list[subprocess.Popen[bytes]] = []
    heard: list[int] = []

    def handle(number: int, _: FrameType | None) -> None:
        if not started:
            raise Stopped(number)
        # only this: the process is inside of `wait`, which cannot be nested
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
