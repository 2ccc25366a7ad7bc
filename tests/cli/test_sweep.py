"""Several settings at once: every job is the same tool with its own words and its own folder."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tool_sets import QUICK

from p2seg.cli import sweep
from p2seg.engine.checkpoint import load_checkpoint


@pytest.fixture
def jobs(monkeypatch, run_tool, tmp_path):
    """Runs `train -m` with jobs that only say how they were called: `jobs(*words)`."""
    monkeypatch.chdir(tmp_path)
    seen = []

    def run(*words, codes=(0,) * 9):
        given = iter(codes)
        monkeypatch.setattr(sweep, "_call", lambda command: (seen.append(command), next(given))[1])
        return run_tool("train", "-m", *words), [
            command[command.index("train") + 1 :] for command in seen
        ]

    return run


def test_every_job_is_the_tool_with_its_words_and_a_name_of_its_own(jobs):
    answer, seen = jobs("data.images=/a, (b)", "seed=0,1", "name=n", "export.scales=[1, 0.5]")
    assert answer == (0, "", "")
    same = ["data.images=/a, (b)", "seed={}", "name=n", "export.scales=[1, 0.5]", "name=n_seed{}"]
    assert seen == [[word.format(seed) for word in same] for seed in (0, 1)]


def test_an_output_that_is_given_becomes_one_a_job(jobs):
    _, seen = jobs("seed=0,1", "mdm.beta=range(1,3)", "out=a/masks.json", "hydra/launcher=basic")
    assert sorted(words[-1] for words in seen) == [
        f"out=a/masks_seed{seed}_beta{beta}.json" for seed in (0, 1) for beta in (1, 2)
    ]
    assert not any("hydra" in word for words in seen for word in words)


def test_names_and_outputs_that_differ_already_stay(jobs):
    _, seen = jobs("name=a,b", "+exp=drawn,voc_hrnet48")
    assert sorted(words[0] for words in seen) == ["name=a", "name=a", "name=b", "name=b"]
    assert {len(words) for words in seen} == {2}


def test_a_job_that_fails_is_one_sentence_after_all_have_run(jobs):
    (code, out, error), seen = jobs("seed=0,1,2", codes=(0, 2, 0))
    assert (code, out) == (2, "")
    assert error.startswith(
        "the job seed=1 failed with exit code 2; the reason is printed above, or in"
    )
    assert error.count("\n") == 1
    assert len(seen) == 3


def test_a_job_that_is_told_to_stop_ends_the_sweep_with_its_code(jobs):
    with pytest.raises(SystemExit) as stopped:
        jobs("seed=0,1,2", codes=(0, 75, 0))
    assert stopped.value.code == 75
    assert jobs("seed=0,1", codes=(130,))[0][0] == 130


def test_a_launcher_that_is_not_installed_names_its_package(run_tool):
    code, _, error = run_tool("train", "-m", "hydra/launcher=submitit_none", "seed=0,1")
    assert (code, error) == (
        2,
        "hydra/launcher=submitit_none needs another package; pip install 'p2seg[slurm]'\n",
    )


WAITING = """
import signal, sys, time
def handle(number, frame):
    print(signal.Signals(number).name, flush=True)
    sys.exit(75)
for name in ("SIGTERM", "SIGUSR1", "SIGHUP"):
    signal.signal(getattr(signal, name), handle)
print("ready", flush=True)
time.sleep(60)
"""
PARENT = """
import sys
from p2seg.cli.sweep import _call
from p2seg.runtime.preemption import Stopped, stopping
try:
    with stopping():  # as every tool does
        code = _call([sys.executable, "-c", sys.argv[1]])
except Stopped as stopped:
    code = stopped.code
sys.exit(code)
"""


@pytest.mark.parametrize("sent", ["SIGTERM", "SIGUSR1", "SIGUSR2", "SIGHUP"])
def test_a_signal_goes_on_to_the_job_and_its_code_comes_back(sent):
    command = [sys.executable, "-c", PARENT, WAITING]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout.readline() == "ready\n"
        parent.send_signal(getattr(signal, sent))
        said = "SIGUSR1" if sent == "SIGUSR2" else sent  # what the engine hears
        assert parent.stdout.readline() == f"{said}\n"
        assert parent.wait(30) == 75


def test_a_signal_that_is_ignored_stays_so():
    """What `nohup` has started outlives its terminal."""
    ignoring = f"import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n{PARENT}"
    command = [sys.executable, "-c", ignoring, WAITING]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout.readline() == "ready\n"
        parent.send_signal(signal.SIGHUP)
        time.sleep(0.2)
        parent.send_signal(signal.SIGTERM)
        assert parent.stdout.readline() == "SIGTERM\n"
        assert parent.wait(30) == 75


JOB = """
import sys, time
from itertools import count
from p2seg.cli.entry import entry
from p2seg.runtime.workers import Workers
def run(cfg):
    print(next(Workers(abs, count(), 1, setting="data.workers")), flush=True)
    time.sleep(60)
entry("gen_semantic")(run)()
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks for children in /proc")
@pytest.mark.parametrize("moment", ["starting", "working"])
def test_a_job_and_its_workers_end_with_the_killed_sweep(moment):
    command = [sys.executable, "-c", PARENT, JOB]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        if moment == "working":
            assert parent.stdout.readline() == "0\n"
        else:
            tasks = Path(f"/proc/{parent.pid}/task")
            while not any(each.read_text() for each in tasks.glob("*/children")):
                time.sleep(0.01)
        parent.kill()
        began = time.monotonic()
        parent.stdout.read()  # it ends when nobody holds the pipe any more
        assert time.monotonic() - began < 30


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["basic", "submitit_local"])
def test_seeds_train_into_folders_of_their_own(made, tmp_path, launcher):
    if launcher != "basic":
        pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    words = [*made.words, *QUICK, f"hydra/launcher={launcher}", "out=net", "seed=0,1"]
    done = subprocess.run(
        [sys.executable, "-m", "p2seg", "train", "-m", *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    for seed in (0, 1):
        last = load_checkpoint(tmp_path / f"net_seed{seed}" / "last.pt", "network")
        assert last["config"]["seed"] == seed
