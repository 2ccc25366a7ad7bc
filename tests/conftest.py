"""Fixtures shared by all tests."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from browser_sets import browser as browser
from browser_sets import page as page
from hypothesis import settings

from p2seg.cli.main import main

settings.register_profile("p2seg", deadline=None)  # a busy machine can be slow
settings.load_profile("p2seg")
if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # before kernels are imported, so that they run on the CPU


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skips tests of kernels if Triton's interpreter is too old for the installed NumPy."""
    with contextlib.suppress(ImportError):
        import triton

        if tuple(map(int, triton.__version__.split(".")[:2])) < (3, 5):
            reason = f"the interpreter of Triton {triton.__version__} fails with newer NumPy"
            for item in items:
                if "triton" in item.name or "fused" in item.name:
                    item.add_marker(pytest.mark.skip(reason=reason))


ROOT = Path(__file__).resolve().parent.parent
REALDATA = ROOT.parent / "shared" / "realdata"


@pytest.fixture(scope="session", autouse=True)
def cache_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Sets a temporary cache folder instead of the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session", autouse=True)
def keyboard_interrupts_are_heard() -> Iterator[None]:
    """Restores SIGINT, which is ignored if a script starts the tests with `&`."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def run_tool(
    capsys: pytest.CaptureFixture[str],
) -> Callable[..., tuple[int, str, str]]:
    """Runs a command in this process: `run_tool("eval", "gt=x")` -> (exit code, stdout, stderr)."""

    def run(name: str, *words: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([name, *map(str, words)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def realdata() -> Path:
    """The folder of real images next to the checkout; the test is skipped without it."""
    if not REALDATA.is_dir():
        pytest.skip("the real images are not next to this checkout (../shared/realdata)")
    return REALDATA
