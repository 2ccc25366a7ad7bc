"""Stages of an experiment, each run once for the same settings and inputs."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from secrets import token_hex
from typing import Any

from p2seg.data.schema import is_number
from p2seg.errors import UserError
from p2seg.runtime.files import read_json, sha256, write_json, write_text

RECORD = "stage.json"
"""Name of the stage's record in a parked training folder."""


class Stages:
    """Runs stages, and skips those that are finished.

    A stage is skipped if it was finished with the same key and its outputs are unchanged.

    Args:
        folder: folder for one small JSON record per stage.
        say: called with a progress message.
    """

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        self.folder = folder
        self.say = say
        self.seconds: dict[str, float] = {}

    def run(
        self,
        name: str,
        function: Callable[[], object],
        *,
        key: Callable[[], str],
        outputs: Sequence[Path],
        training: Path | None = None,
        makes_inputs: bool = False,
    ) -> None:
        """Runs a stage, or skips it.

        Args:
            name: name of the stage.
            function: writes the outputs.
            key: returns a fingerprint of the settings and inputs that affect the result.
            outputs: files that the stage writes; for a folder, one file such as its manifest.
            training: the folder of a stage that resumes from its own checkpoints. If it holds a
                finished training with another key, the folder is renamed until the new
                training is finished, and renamed back if its key is used again. The function
                decides whether it resumes an unfinished training.
            makes_inputs: the function also writes some of its inputs, such as downloads, so
                the key is computed after it.
        """
        current = key()
        if self._is_done(name, current, outputs):
            return
        if training is not None:
            self._place(name, current, training)
            if self._is_done(name, current, outputs):
                return
            write_text(self._path(f"{name}.begun"), current)
        self.say(f"{name} ...")
        done = self.record(name)
        self._path(name).unlink(missing_ok=True)  # a failure may leave incomplete outputs
        began = time.perf_counter()
        try:
            function()
        except BaseException:
            if done is not None and _hashes(outputs) == done["outputs"]:
                write_json(self._path(name), done)  # nothing was written
            raise
        self.seconds[name] = round(time.perf_counter() - began, 2)
        record = {
            "key": key() if makes_inputs else current,
            "outputs": _hashes(outputs),
            "seconds": self.seconds[name],
        }
        write_json(self._path(name), record)
        if training is not None:
            self._path(f"{name}.begun").unlink(missing_ok=True)
            for parked in training.parent.glob(f"{training.name}.parked-*"):
                shutil.rmtree(parked)
        self.say(f"{name}: {self.seconds[name]:.0f} s")

    def record(self, name: str) -> dict[str, Any] | None:
        """The record of a finished stage; None if it was never finished."""
        return _record(self._path(name))

    def are_made(self, name: str, outputs: Sequence[Path]) -> bool:
        """Whether the outputs of a stage are unchanged."""
        done = self.record(name)
        return done is not None and done["outputs"] == _hashes(outputs)

    def _is_done(self, name: str, key: str, outputs: Sequence[Path]) -> bool:
        done = self.record(name)
        if done is None or done["key"] != key or not self.are_made(name, outputs):
            return False
        self.seconds[name] = done["seconds"]
        self.say(f"{name}: skipped, already done with the same settings and inputs")
        return True

    def _place(self, name: str, key: str, training: Path) -> None:
        """Renames the folder of a finished training, and restores the folder of this key."""
        done, parked = self.record(name), _parked(training, key)
        finished = done is not None and done["key"] != key
        if training.is_dir() and (finished or parked.is_dir()):
            if done is not None:
                write_json(training / RECORD, done)
            training.replace(_parked(training, self._begun(name) if done is None else done["key"]))
        self._path(name).unlink(missing_ok=True)
        if parked.is_dir():
            parked.replace(training)
            record = _record(training / RECORD)
            if record is not None:
                write_json(self._path(name), record)
                (training / RECORD).unlink()

    def _begun(self, name: str) -> str:
        """The key of an unfinished training."""
        path = self._path(f"{name}.begun")
        return (
            re.sub(r"\W", "", path.read_text(errors="replace")) if path.is_file() else token_hex(6)
        )

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.json"


def _record(path: Path) -> dict[str, Any] | None:
    """The record of a stage; None if it is missing or damaged."""
    try:
        record = read_json(path, "record of a stage") if path.is_file() else None
    except UserError:
        return None
    if not isinstance(record, dict) or not {"key", "outputs", "seconds"} <= record.keys():
        return None
    return record if isinstance(record["key"], str) and is_number(record["seconds"]) else None


def _parked(training: Path, key: str) -> Path:
    """The name of a training folder while its stage runs with another key."""
    return training.with_name(f"{training.name}.parked-{key[:12]}")


def _hashes(files: Sequence[Path]) -> list[str | None]:
    return [sha256(file) if file.is_file() else None for file in files]
