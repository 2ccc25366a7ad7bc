"""Stages of an experiment, each done once for the same settings and inputs."""

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
"""In a parked folder: the record of its stage."""


class Stages:
    """Runs stages and remembers what each was made of.

    A stage is skipped if it was done with the same key and its outputs are unchanged.

    Args:
        folder: where a small json is kept for each stage.
        say: gets a sentence about each thing that happens.
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
            name: of the stage.
            function: makes the outputs.
            key: gives a fingerprint of the settings and inputs that decide the result.
            outputs: files that the stage writes; one that stands for a folder, such as a
                manifest, is enough.
            training: the folder of a stage that resumes from its own checkpoints. A finished
                one of another key is parked next to it until the new one is finished, and
                comes back with its key. An unfinished one is left to the function, which
                compares its checkpoints with the settings.
            makes_inputs: the function also writes some of its inputs, such as downloads, so
                the key is taken after it.
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
        self._path(name).unlink(missing_ok=True)  # a failure may leave half of an output
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
        """What is kept of a stage that came to its end; None if it never did."""
        return _record(self._path(name))

    def are_made(self, name: str, outputs: Sequence[Path]) -> bool:
        """Whether files are as a stage made them."""
        done = self.record(name)
        return done is not None and done["outputs"] == _hashes(outputs)

    def _is_done(self, name: str, key: str, outputs: Sequence[Path]) -> bool:
        done = self.record(name)
        if done is None or done["key"] != key or not self.are_made(name, outputs):
            return False
        self.seconds[name] = done["seconds"]
        self.say(f"{name}: done before, nothing has changed")
        return True

    def _place(self, name: str, key: str, training: Path) -> None:
        """Parks a finished training, and brings back the one of this key."""
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
        """The key of a training that was begun and is not finished."""
        path = self._path(f"{name}.begun")
        return (
            re.sub(r"\W", "", path.read_text(errors="replace")) if path.is_file() else token_hex(6)
        )

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.json"


def _record(path: Path) -> dict[str, Any] | None:
    """A record, or None if there is none or it is damaged."""
    try:
        record = read_json(path, "record of a stage") if path.is_file() else None
    except UserError:
        return None
    if not isinstance(record, dict) or not {"key", "outputs", "seconds"} <= record.keys():
        return None
    return record if isinstance(record["key"], str) and is_number(record["seconds"]) else None


def _parked(training: Path, key: str) -> Path:
    """Where a training folder waits while its stage runs with another key."""
    return training.with_name(f"{training.name}.parked-{key[:12]}")


def _hashes(files: Sequence[Path]) -> list[str | None]:
    return [sha256(file) if file.is_file() else None for file in files]
