"""Fixtures that run the scripts of `scripts/`."""

from __future__ import annotations

import importlib
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from p2seg.cli.main import main

SCRIPTS = Path(__file__).resolve().parent.parent.parent / "scripts"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Runs a script in this process; returns exit code, stdout and stderr."""
    monkeypatch.syspath_prepend(str(SCRIPTS))

    def run(name: str, *words: object) -> tuple[int, str, str]:
        code = importlib.import_module(name).main([str(word) for word in words])
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch):
    """Calls the tools in this process, because starting a process takes longer than their work."""
    start = subprocess.run

    def run(words: list[str], **options: object) -> object:
        if Path(words[1]).name not in ("pipeline.py", "watershed.py"):
            return start(words, **options)  # type: ignore[call-overload]
        assert words[0] == sys.executable
        name = Path(words[1]).stem
        own = name == "watershed"  # a script of its own
        code = importlib.import_module(name).main(words[2:]) if own else main([name, *words[2:]])
        return subprocess.CompletedProcess(words, code)

    monkeypatch.setattr(subprocess, "run", run)


@pytest.fixture
def reproduce(script):
    return partial(script, "reproduce")


@pytest.fixture
def reproduce_real(script):
    return partial(script, "reproduce_real")


@pytest.fixture(scope="session")
def composed():
    """Composes the settings of a run; runs that differ only in paths are composed once."""
    from hydra import compose, initialize_config_dir

    cache = {}
    places = ("name=", "out=", "seed=", "data.", "ckpt=")

    def of(words):
        key = tuple(word for word in words if not word.startswith(places))
        if not any(word.startswith("semantic") for word in key):
            key = key[1:]  # then all experiments have the same settings to override
        if key not in cache:
            with initialize_config_dir(str(SCRIPTS.parent / "configs"), version_base=None):
                cache[key] = compose("pipeline", words)
        return cache[key]

    return of
