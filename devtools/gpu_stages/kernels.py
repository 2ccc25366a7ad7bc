"""Triton's affinity kernels compared with plain PyTorch, and the tests that use a GPU."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from importlib.util import find_spec

import torch
from torch import Tensor

from devtools.benchmarks.affinity import Problem, fits_dense, problem
from devtools.benchmarks.measure import Precision, with_precision
from devtools.gpu_stages import Row, Setup, attempt
from p2seg.ops.affinity import Way, pair_sum, refine

SIDES = (52, 104, 128, 256)
PRECISIONS: tuple[Precision, ...] = ("float32", "tf32", "bf16")
CHANNELS = 256
TEST_SECONDS = 40


def rows(setup: Setup) -> Iterator[Row]:
    """Yields the largest relative errors by side and precision, then the result of the tests."""
    sides, channels = ((4,), 16) if setup.rehearse else (SIDES, CHANNELS)
    for side in sides:
        for precision in PRECISIONS:
            what = f"Triton, {side} x {side}, d {channels}, {precision}"
            yield attempt(what, partial(_compared, setup.device, side, channels, precision))
    yield attempt("tests that use a GPU", partial(_tests, setup.rehearse))


def _compared(device: torch.device, side: int, channels: int, precision: Precision) -> Row:
    inputs = problem(device, side, channels, 1)
    reference: Way = "dense" if fits_dense(device, side, 1) else "tiled"
    with with_precision("float32", device):
        wanted = _results(inputs, reference)
    with with_precision(precision, device):
        results = _results(inputs, "triton")
    errors = (
        ((one - other).abs().max() / other.abs().max()).item()
        for one, other in zip(results, wanted, strict=True)
    )
    names = ("error of the sum", "of its gradient", "of the spread")
    return {"reference": reference, **dict(zip(names, errors, strict=True))}


def _results(inputs: Problem, way: Way) -> list[Tensor]:
    total = pair_sum(inputs.factors, inputs.pairs, way)
    [gradient] = torch.autograd.grad(total.sum(), [inputs.factors])
    return [total.detach(), gradient, refine(inputs.factors, inputs.spread, way)]


def _tests(rehearse: bool) -> Row:
    missing = [name for name in ("pytest", "hypothesis") if find_spec(name) is None]
    if missing:
        raise ModuleNotFoundError(f"{missing[0]} is not installed")
    words = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "gpu or not slow"]
    tests = ["tests/ops", "-k", "triton or fused or gpu", *(["--collect-only"] if rehearse else [])]
    done = subprocess.run(
        [sys.executable, *words, *tests],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TEST_SECONDS,
        check=False,
    )
    sys.stdout.write(done.stdout)
    last = done.stdout.strip().splitlines()[-1:]
    if done.returncode:
        raise AssertionError(f"pytest ended with code {done.returncode}: {' '.join(last)}")
    return {"result": " ".join(last)}
