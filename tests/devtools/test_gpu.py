"""devtools/gpu.py without a GPU: its output, and stages that fail independently."""

from __future__ import annotations

import json
import time

import pytest
import torch

from devtools import gpu
from devtools.gpu_stages import attempt


def test_a_failed_stage_is_reported_and_keeps_the_results_of_others(tmp_path, capsys):
    words = ["--rehearse", "--stages", "affinity,training", "--out", str(tmp_path)]
    assert gpu.main([*words, "--data", str(tmp_path / "nothing")]) == 1
    stages = json.loads((tmp_path / "gpu.json").read_text())["stages"]
    assert list(stages) == ["affinity", "training"]
    assert stages["training"]["error"].startswith("FileNotFoundError: ")
    page = (tmp_path / "gpu.md").read_text()
    assert "nothing/instances_train.json" in page
    assert "training: " in capsys.readouterr().out
    affinity = stages["affinity"]
    assert not gpu.failures(affinity)
    ways = [row["what"].partition(", ")[0] for row in affinity["rows"]]
    assert ways[:3] == ["triton", "dense", "tiled"]
    assert all(row["what"] in page for row in affinity["rows"])


def test_a_stage_over_its_limit_is_killed(tmp_path):
    began = time.monotonic()
    stage = gpu.run_stage("repeat", 1.0, tmp_path, rehearse=True)
    assert stage["error"] == "killed after 1 s"
    assert gpu.failures(stage) == ["killed after 1 s"]
    assert time.monotonic() - began < 10


def test_a_failed_measurement_is_a_row_with_its_error():
    def broken():
        raise ValueError("two\nlines")

    assert attempt("this", broken) == {"what": "this", "error": "ValueError: two lines"}
    assert attempt("that", lambda: {"ms": 1.5}) == {"what": "that", "ms": 1.5}


def test_limits_fit_into_eight_minutes():
    assert sum(gpu.LIMITS.values()) <= gpu.TOTAL <= 480


def test_wrong_arguments_are_reported(monkeypatch, capsys, tmp_path):
    with pytest.raises(SystemExit):
        gpu.main(["--stages", "kernels,speed"])
    assert "'speed'" in capsys.readouterr().err
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit, match="--rehearse"):
        gpu.main(["--out", str(tmp_path)])


@pytest.mark.slow
def test_the_whole_rehearsal(tmp_path):
    code = gpu.main(["--rehearse", "--out", str(tmp_path)])
    assert code == 0, (tmp_path / "gpu.md").read_text()
