"""devtools/bench.py: its suites run, their references agree, and the rows are written."""

from __future__ import annotations

import json
from dataclasses import fields

import numpy as np
import pytest
import torch

from devtools import bench
from devtools.benchmarks import evaluation, labels
from devtools.benchmarks.measure import Row, cost


@pytest.fixture
def run_bench(capsys):
    """Runs the command in this process; returns exit code, stdout and stderr."""

    def run(*words):
        code = bench.main([str(word) for word in words])
        return code, *capsys.readouterr()

    return run


def test_a_suite_prints_a_table_and_writes_its_rows(run_bench, tmp_path):
    out = tmp_path / "rows.json"
    sizes = ("--sides", 8, "--channels", 16, 24, "--repeats", 1)
    code, shown, _ = run_bench("affinity", *sizes, "--out", out)
    assert code == 0
    rows = json.loads(out.read_text())
    assert [row["d"] for row in rows] == [16, 24]
    for row in rows:
        assert set(row) == {each.name for each in fields(Row)} | {"versions"}
        assert min(row["seconds"], row["rival_seconds"], row["limit_seconds"]) > 0
        assert row["rival"] == "dense"
    assert "pairs + gradient + spread" in shown


@pytest.mark.parametrize(("mdm", "flip"), [("paper", False), ("best", False), ("bestie", True)])
def test_the_cost_of_an_experiments_stages(run_bench, tmp_path, mdm, flip):
    out = tmp_path / "cost.json"
    code, shown, said = run_bench(
        *("cost", "--repeats", 1, "--out", out, "+exp=drawn", f"mdm={mdm}"),
        *("model.backbone=test_resnet", "model.width=8", "model.embedding=4"),
        *("data.augment.crop=64", "trainer.batch_size=2", "segmentor.batch_size=1"),
        *("export.edges=0", f"export.flip={flip}"),
    )
    assert code == 0, said
    assert "rival" not in shown, "columns without anything are left out"
    rows = {row["name"]: row for row in json.loads(out.read_text())}
    assert list(rows) == [
        *("network, forward", "pseudo masks", "training step, before the rounds"),
        *("training step, with the rounds", "segmentor, forward", "segmentor, training step"),
    ]
    forward, masks, alone, mutual, *_ = rows.values()
    assert forward["parameters"] == mutual["parameters"] < rows["segmentor, forward"]["parameters"]
    # two images go forward, and back to inputs and weights; and there are affinities
    assert 4 * forward["macs"] < alone["macs"] < 9 * forward["macs"]
    more = masks["macs"] - forward["macs"]
    if mdm == "paper":
        assert more >= 256**2 * 4 / 2, "half of the logits of the whole matrix, of 4 channels"
        assert mutual["macs"] > alone["macs"]
    else:  # no affinities; the mirrored image is one more
        assert more == (forward["macs"] if flip else 0)
        assert mutual["macs"] == alone["macs"]
    assert min(row["seconds"] for row in rows.values()) > 0


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["speed"], "invalid choice: 'speed' (choose from "),
        (["step", "--repeats", "0"], "argument --repeats: '0' must be an integer >= 1"),
        (["affinity", "--sides", "a"], "argument --sides: 'a' must be an integer >= 1"),
        (["step", "--accelerator", "abacus"], "--accelerator=abacus"),
        (["step", "seed=1"], "seed=1: only the suite cost takes settings; remove it"),
        (["cost", "sede=1"], "Could not override 'sede'"),
        (["cost", "data=custom"], "add data.num_classes=NUMBER"),
    ],
)
def test_wrong_arguments_are_reported(run_bench, words, sentence):
    code, _, mistake = run_bench(*words)
    assert code == 2
    assert sentence in mistake
    assert mistake.count("\n") == 1


@pytest.mark.parametrize("holes", labels.SCENES.values())
def test_the_reference_of_labels_agrees(monkeypatch, holes):
    monkeypatch.setattr(labels, "BATCH", 2)
    monkeypatch.setattr(labels, "SIZE", 96)
    scene = labels.scene(1, holes)
    made, wanted = labels.ours(*scene), labels.rival(*scene)
    labels._check_equal(made, wanted)
    wanted[0][:] = 99
    with pytest.raises(AssertionError):
        labels._check_equal(made, wanted)


def test_the_reference_of_the_evaluation_agrees():
    gt, pred = evaluation.sets(6, 40)
    score = evaluation.ours(gt, pred)
    assert 0 < score < 1
    assert evaluation.rival(gt, pred) == pytest.approx(score)


def test_memory_is_the_peak_of_the_work():
    seconds, peak = cost(lambda: np.ones(64 << 17).sum(), torch.device("cpu"), 1)
    assert seconds > 0
    assert peak is None or 60 < peak < 90
