"""devtools/gpu.py without a GPU: what it writes, and that no stage can take the others with it."""

from __future__ import annotations

import json
import time

import pytest
import torch

from devtools import gpu
from devtools.gpu_stages import attempt


def test_a_stage_is_rehearsed_and_its_results_are_written(tmp_path):
    assert gpu.main(["--rehearse", "--stages", "affinity", "--out", str(tmp_path)]) == 0
    results = json.loads((tmp_path / "gpu.json").read_text())
    assert results["machine"]["device"] == "a rehearsal on the CPU"
    stage = results["stages"]["affinity"]
    ways = [row["what"].partition(", ")[0] for row in stage["rows"]]
    assert ways[:3] == ["triton", "dense", "tiled"]
    assert stage["error"] is None
    page = (tmp_path / "gpu.md").read_text()
    assert "| what | ms | MiB | times the limit |" in page
    assert all(row["what"] in page for row in stage["rows"])


def test_a_stage_over_its_limit_is_killed(tmp_path):
    began = time.monotonic()
    stage = gpu.run_stage("repeat", 1.0, tmp_path, rehearse=True)
    assert stage["error"] == "killed after 1 s"
    assert gpu.failures(stage) == ["killed after 1 s"]
    assert time.monotonic() - began < 10


def test_a_stage_that_fails_says_why_and_the_next_one_runs(tmp_path, capsys):
    words = ["--rehearse", "--stages", "step,training", "--out", str(tmp_path)]
    assert gpu.main([*words, "--data", str(tmp_path / "nothing")]) == 1
    stages = json.loads((tmp_path / "gpu.json").read_text())["stages"]
    assert list(stages) == ["step", "training"]
    assert not gpu.failures(stages["step"])
    assert stages["training"]["error"].startswith("FileNotFoundError: ")
    assert "nothing/instances_train.json" in (tmp_path / "gpu.md").read_text()
    assert "training: " in capsys.readouterr().out


def test_a_figure_that_fails_is_a_row_with_its_error():
    def broken():
        raise ValueError("two\nlines")

    assert attempt("this", broken) == {"what": "this", "error": "ValueError: two lines"}
    assert attempt("that", lambda: {"ms": 1.5}) == {"what": "that", "ms": 1.5}


def test_limits_fit_into_eight_minutes():
    assert sum(gpu.LIMITS.values()) <= gpu.TOTAL <= 480


def test_mistakes(monkeypatch, capsys, tmp_path):
    with pytest.raises(SystemExit):
        gpu.main(["--stages", "kernels,speed"])
    assert "no stage 'speed'; one of kernels, affinity" in capsys.readouterr().err
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit, match="no CUDA GPU on this machine; --rehearse"):
        gpu.main(["--out", str(tmp_path)])


@pytest.mark.slow
def test_the_whole_rehearsal(tmp_path):
    code = gpu.main(["--rehearse", "--out", str(tmp_path)])
    assert code == 0, (tmp_path / "gpu.md").read_text()
