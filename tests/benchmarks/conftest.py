"""The bench as the tests call it: it is no part of the package."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[2] / "tools"


@pytest.fixture
def run_tool(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, str, str]]:
    """Runs the bench in this process: `run_tool("bench", "suite=step")`."""
    monkeypatch.syspath_prepend(str(TOOLS))

    def run(name: str, *words: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = importlib.import_module(name).main([str(word) for word in words])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run
