"""Stages of an experiment, each done once for the same inputs."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from p2seg.data.schema import is_number
from p2seg.errors import UserError
from p2seg.files import fingerprint, read_json, sha256, write_json, write_text


class Stages:
    """Runs stages and remembers what each was made of.

    A stage is skipped when all its outputs are there and it was made with the same settings, the
    same inputs and the same outputs as they lie there now.

    Args:
        folder: where a small json is kept for each stage.
        say: told what happens, a sentence at a time.
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
        settings: Any,
        inputs: Sequence[Path],
        outputs: Sequence[Path],
    ) -> None:
        """Runs a stage, or skips it.

        Args:
            name: of the stage.
            function: makes the outputs.
            settings: anything JSON can hold that decides the result.
            inputs: files that decide the result.
            outputs: files that the stage writes; one that stands for a folder, such as a
                manifest, is enough.
        """
        key = fingerprint([settings, [sha256(file) for file in inputs]])
        done = self.record(name)
        there = all(file.is_file() for file in outputs)
        if there and done is not None and (done["key"], done["outputs"]) == (key, _hashes(outputs)):
            self.seconds[name] = done["seconds"]
            self.say(f"{name}: done before, nothing has changed")
            return
        self._begin(f"{name}.begun", name, key, outputs)
        self.say(f"{name} ...")
        path = self._path(name)
        path.unlink(missing_ok=True)  # what a failure leaves behind is not what was recorded
        began = time.perf_counter()
        try:
            function()
        except BaseException:
            self._restore(name, done, outputs)
            raise
        for file in outputs:
            _aside(file).unlink(missing_ok=True)
        self.seconds[name] = round(time.perf_counter() - began, 2)
        record = {"key": key, "outputs": _hashes(outputs), "seconds": self.seconds[name]}
        write_json(path, record)
        self._path(f"{name}.begun").unlink()
        self.say(f"{name}: {self.seconds[name]:.0f} s")

    def record(self, name: str) -> dict[str, Any] | None:
        """What is kept of a stage that came to its end; None if it never did."""
        path = self._path(name)
        try:
            record = read_json(path, "record of a stage") if path.is_file() else None
        except UserError:
            return None  # damaged: as if it had never run
        keys = {"key", "outputs", "seconds"}
        if not isinstance(record, dict) or not keys <= record.keys():
            return None
        return record if is_number(record["seconds"]) else None

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.json"

    def _begin(self, begun: str, name: str, key: str, outputs: Sequence[Path]) -> None:
        """Notes what is begun, and puts outputs of other settings or inputs aside.

        A stage that was interrupted finds what it left; one whose inputs have changed must not go
        on from there.
        """
        path = self._path(begun)
        if path.is_file():
            before = path.read_text(errors="replace")
        else:
            before = (self.record(name) or {}).get("key", key)
        if before != key:
            for file in outputs:
                if file.is_file():
                    file.replace(_aside(file))
        write_text(path, key)

    def _restore(self, name: str, done: dict[str, Any] | None, outputs: Sequence[Path]) -> None:
        """Brings back what was put aside for a stage that then wrote nothing."""
        aside = [file for file in outputs if _aside(file).is_file()]
        if done is None or not aside or any(file.is_file() for file in aside):
            return
        for file in aside:
            _aside(file).replace(file)
        write_json(self._path(name), done)
        self._path(f"{name}.begun").unlink(missing_ok=True)


def _aside(file: Path) -> Path:
    """Where an output waits while its stage runs with other settings."""
    return file.with_name(file.name + ".before")


def _hashes(files: Sequence[Path]) -> list[str]:
    return [sha256(file) for file in files]
