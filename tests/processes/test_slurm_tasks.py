"""Who is a rank: tasks of srun are, shells of SLURM are not, torchrun's word wins."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from p2seg.errors import UserError
from p2seg.runtime import processes
from p2seg.runtime.processes import Task, start_processes
from p2seg.runtime.rank_env import is_one_of_many, is_task

JOB = {"SLURM_JOB_ID": "71", "SLURM_NTASKS": "2", "SLURM_NNODES": "2", "SLURM_PROCID": "0"}
STEP = {
    **JOB,
    "SLURM_STEP_ID": "0",
    "SLURM_STEP_NUM_TASKS": "2",
    "SLURM_STEP_NODELIST": "gpu[07-09],cpu1",
    "SLURM_LOCALID": "0",
}


@pytest.fixture(autouse=True)
def nothing_of_slurm(monkeypatch):
    """As if neither SLURM nor torchrun had started the tests."""
    for name in list(os.environ):
        if name.startswith("SLURM_") or name in ("MASTER_ADDR", "MASTER_PORT", "LOCAL_WORLD_SIZE"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("MASTER_ADDR", "")  # restored after the test, whatever is set in it
    monkeypatch.setenv("MASTER_PORT", "")
    monkeypatch.delenv("MASTER_ADDR")
    monkeypatch.delenv("MASTER_PORT")


def environment(monkeypatch, values):
    for name, value in values.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    ("values", "tasks"),
    [
        ({}, False),
        (JOB, False),  # the shell of a batch script
        ({**JOB, "SLURM_STEP_ID": "4294967291", "SLURM_STEP_NUM_TASKS": "2"}, False),
        ({**JOB, "SLURM_STEP_ID": "4294967290"}, False),  # salloc's shell, where it is a step
        ({**JOB, "SLURM_STEP_ID": "batch"}, False),
        ({**STEP, "SLURM_STEP_NUM_TASKS": "1"}, False),  # srun --pty bash
        (STEP, True),
        ({**STEP, "SLURM_NTASKS": "8"}, True),
        ({key: STEP[key] for key in STEP if key != "SLURM_STEP_NUM_TASKS"}, True),
    ],
)
def test_tasks_of_srun_are_ranks_and_shells_are_not(monkeypatch, values, tasks):
    assert is_task(values) is tasks
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    environment(monkeypatch, values)
    assert is_one_of_many() is tasks


def test_a_task_knows_its_number_and_where_the_first_one_is(monkeypatch):
    environment(monkeypatch, {**STEP, "SLURM_PROCID": "1", "SLURM_NTASKS": "8"})
    task = Task()
    assert (task.global_rank(), task.world_size()) == (1, 2)
    assert (task.main_address, task.main_port) == ("gpu07", 15_000 + 71 * 37)
    monkeypatch.delenv("MASTER_PORT")
    monkeypatch.setenv("SLURM_STEP_ID", "1")
    assert Task().main_port == 15_001 + 71 * 37
    monkeypatch.setenv("MASTER_ADDR", "10.0.0.1")
    monkeypatch.setenv("MASTER_PORT", "2222")
    assert (task.main_address, task.main_port) == ("10.0.0.1", 2222)


@pytest.mark.parametrize(
    ("count", "local", "device"), [(0, 3, 1), (1, 3, [0]), (4, 0, [0]), (4, 3, [3])]
)
def test_a_task_takes_the_gpu_that_is_its_own(monkeypatch, count, local, device):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    assert processes._own_device("auto", local) == device
    assert processes._own_device("cpu", local) == 1


def test_more_tasks_than_gpus_are_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(
        UserError, match="3 tasks or more on a node with 2 GPUs; start it with --ntasks-per"
    ):
        processes._own_device("auto", 2)


@pytest.mark.parametrize("values", [{}, JOB, {**STEP, "SLURM_STEP_NUM_TASKS": "1"}])
def test_one_process_anywhere_else_without_a_warning(monkeypatch, tmp_path, values):
    """Also where srun is there but was not used, which Lightning warns of; warnings are errors."""
    (tmp_path / "srun").write_text("#!/bin/sh\n")
    (tmp_path / "srun").chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    environment(monkeypatch, values)
    fabric = start_processes("cpu", 1, "32-true")
    assert (fabric.world_size, fabric.global_rank) == (1, 0)


def test_torchruns_word_wins(monkeypatch):
    environment(monkeypatch, {**STEP, "LOCAL_WORLD_SIZE": "3", "GROUP_WORLD_SIZE": "2"})
    assert processes._layout("cpu", 1) == {"devices": 3, "num_nodes": 2}


RANK = """
import torch
from p2seg.runtime.processes import start_processes
fabric = start_processes("cpu", 1, "32-true")
total = fabric.all_reduce(torch.tensor(float(fabric.global_rank + 1)), reduce_op="sum")
print(fabric.global_rank, fabric.world_size, float(total))
"""


@pytest.mark.slow
def test_tasks_meet():
    """Three tasks, two on one node and one on another, as srun would start them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    root = str(Path(__file__).resolve().parents[2])
    began = []
    for rank, local in enumerate(("0", "1", "0")):
        own = {**STEP, "SLURM_STEP_NUM_TASKS": "3", "SLURM_PROCID": str(rank)}
        own |= {"SLURM_LOCALID": local, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        values = {**os.environ, **own, "PYTHONPATH": root}
        command = [sys.executable, "-c", RANK]
        began.append(subprocess.Popen(command, env=values, stdout=subprocess.PIPE, text=True))
    said = [process.communicate(timeout=120)[0] for process in began]
    assert said == [f"{rank} 3 6.0\n" for rank in range(3)]
