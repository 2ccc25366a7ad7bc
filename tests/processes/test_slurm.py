"""The jobs of scripts/slurm in a real SLURM: two nodes on this machine, in a network of their own.

It needs root and SLURM's programs (Debian: slurm-wlm). Nobody outside can reach the daemons, for
they ask for no password.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from tool_sets import NETWORK
from training_sets import training_set

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

ROOT = Path(__file__).resolve().parents[2]
NEEDED = (
    "slurmctld",
    "slurmd",
    "sbatch",
    "srun",
    "scontrol",
    "scancel",
    "unshare",
    "nsenter",
    "ip",
)
CONF = """
ClusterName=test
SlurmctldHost={host}(10.99.0.1)
SlurmctldPort=17817
SlurmUser=root
AuthType=auth/none
CredType=cred/none
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ReturnToService=2
KillWait=5
StateSaveLocation={home}/state
SlurmdSpoolDir={home}/spool-%n
SlurmctldPidFile={home}/slurmctld.pid
SlurmdPidFile={home}/slurmd-%n.pid
SlurmctldLogFile={home}/slurmctld.log
SlurmdLogFile={home}/slurmd-%n.log
SchedulerParameters=sched_interval=2
NodeName=n1 NodeHostname={host} NodeAddr=10.99.0.1 Port=17818 CPUs=2
NodeName=n2 NodeHostname={host} NodeAddr=10.99.0.2 Port=17819 CPUs=2
PartitionName=all Nodes=n1,n2 Default=YES State=UP
"""
DAEMONS = """
ip link set lo up && ip addr add 10.99.0.1/32 dev lo && ip addr add 10.99.0.2/32 dev lo || exit 1
slurmctld -D & sleep 1; slurmd -D -N n1 & slurmd -D -N n2 & wait
"""


class Cluster:
    """A running one."""

    def __init__(self, pid: int, environment: dict[str, str], home: Path) -> None:
        self.pid = pid
        self.environment = environment
        self.home = home

    def __call__(self, *command: object) -> str:
        """Runs a command in the cluster's network; gives what it prints."""
        words = ["nsenter", "-t", str(self.pid), "-n", f"--wd={self.home}", *map(str, command)]
        done = subprocess.run(
            words, env=self.environment, capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def submit(self, script: str, tasks: int, *words: object) -> str:
        """Submits a job on CPUs; gives its id."""
        options = ("--gpus-per-node=0", "--cpus-per-task=1", f"--ntasks-per-node={tasks}")
        tool = ROOT / "tools" / "train.py"
        own = ("sbatch", "--parsable", *options, ROOT / "scripts" / "slurm" / script, tool)
        return self(*own, *words).strip()

    def ends(self, job: str) -> str:
        """Waits for the end of a job, which is begun again at once where it comes back."""
        for _ in range(600):
            shown = self("scontrol", "show", "job", job)
            state = shown.partition("JobState=")[2].split()[0]
            if state in ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL"):
                return shown
            if state == "PENDING" and "Reason=BeginTime" in shown:  # two minutes otherwise
                self("scontrol", "update", f"jobid={job}", "starttime=now")
            time.sleep(1)
        raise AssertionError(shown)

    def log(self, job: str) -> str:
        path = self.home / f"slurm-{job}.out"
        return path.read_text() if path.is_file() else ""

    def until(self, job: str, text: str) -> None:
        """Waits until a job says something."""
        for _ in range(600):
            if text in self.log(job):
                return
            time.sleep(0.3)
        raise AssertionError(self.log(job))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    missing = [name for name in NEEDED if shutil.which(name) is None]
    if missing or os.geteuid() != 0:
        pytest.skip(f"a cluster needs root and {', '.join(missing) or 'nothing more'}")
    home = tmp_path_factory.mktemp("slurm")
    for name in ("state", "spool-n1", "spool-n2"):
        (home / name).mkdir()
    (home / "slurm.conf").write_text(CONF.format(host=socket.gethostname(), home=home))
    folder = str(Path(sys.executable).parent)
    environment = {
        **os.environ,
        "SLURM_CONF": str(home / "slurm.conf"),
        "PATH": os.pathsep.join((folder, os.environ["PATH"])),
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
    }
    with (home / "daemons.log").open("w") as log:
        daemons = subprocess.Popen(
            ["unshare", "-n", "bash", "-c", DAEMONS],
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    made = Cluster(daemons.pid, environment, home)
    try:
        for _ in range(60):
            time.sleep(0.5)
            words = ["nsenter", "-t", str(daemons.pid), "-n", "sinfo", "-h", "-o", "%D %t"]
            nodes = subprocess.run(
                words, env=environment, capture_output=True, text=True, check=False
            )
            if nodes.stdout.strip() == "2 idle":
                break
        else:
            pytest.skip(f"no cluster comes up here: {(home / 'daemons.log').read_text()[-500:]}")
        yield made
        made("scancel", "--user=root")
        time.sleep(2)
    finally:
        os.killpg(daemons.pid, signal.SIGTERM)
        daemons.wait(30)


@pytest.fixture(scope="module")
def words(cluster):
    more = ("trainer.max_steps=80", "trainer.log_every=20", "trainer.picture_every=0")
    return (*training_set(cluster.home / "set").words, *NETWORK, *more)


def weights(cluster, out):
    content = torch.load(cluster.home / out / "last.pt", weights_only=True)
    assert content["step"] == 80
    return content["model"]


@pytest.fixture(scope="module")
def reference(cluster, words):
    """The weights of a job of two tasks on one node that nothing interrupts."""
    job = cluster.submit("one_node.sh", 2, *words, "out=reference")
    assert "JobState=COMPLETED" in cluster.ends(job), cluster.log(job)
    return weights(cluster, "reference")


@pytest.mark.parametrize(("script", "tasks"), [("one_node.sh", 2), ("several_nodes.sh", 1)])
def test_a_job_that_is_told_to_stop_comes_back_and_ends_as_if_nothing_was(
    cluster, words, reference, script, tasks
):
    job = cluster.submit(script, tasks, *words, f"out={script}")
    cluster.until(job, "step 20/80")
    cluster("scancel", "--signal=USR1", job)
    shown = cluster.ends(job)
    log = cluster.log(job)
    assert "JobState=COMPLETED" in shown, log
    assert "Restarts=1" in shown
    assert f"job {job} is queued again" in log
    assert "resumes" in log
    assert "Traceback" not in log
    own = weights(cluster, script)
    assert all(torch.equal(own[name], reference[name]) for name in reference)
    assert not list(cluster.home.glob(".slurm-*"))


def test_a_rank_that_dies_ends_the_job(cluster, words):
    job = cluster.submit("several_nodes.sh", 1, *words, "trainer.max_steps=100000", "out=dead")
    cluster.until(job, "step 20/")
    for status in Path("/proc").glob("[0-9]*/environ"):
        try:
            environment = status.read_bytes().split(b"\0")
            command = (status.parent / "cmdline").read_bytes()
        except OSError:
            continue
        own = f"SLURM_JOB_ID={job}".encode() in environment and b"SLURM_PROCID=1" in environment
        if own and b"train.py" in command and command.startswith(b"python"):
            os.kill(int(status.parent.name), signal.SIGKILL)
    began = time.monotonic()
    shown = cluster.ends(job)
    assert time.monotonic() - began < 60
    assert "JobState=FAILED" in shown
    assert "Restarts=0" in shown


def test_a_job_comes_back_only_so_often(cluster, words):
    cluster.environment["REQUEUES"] = "0"
    more = ("trainer.max_steps=100000", "out=often")
    job = cluster.submit("one_node.sh", 1, *words, *more)
    cluster.until(job, "step 20/")
    cluster("scancel", "--signal=USR1", job)
    shown = cluster.ends(job)
    assert "JobState=FAILED" in shown
    assert "ExitCode=75:0" in shown
    assert "submit it anew to go on" in cluster.log(job)


def test_a_shell_of_a_job_is_no_rank(cluster, words):
    """`python` in a batch script of two tasks, without srun: it must not wait for another one."""
    script = cluster.home / "plain.sh"
    tool = ROOT / "tools" / "train.py"
    given = " ".join(f"'{word}'" for word in words)
    script.write_text(f"#!/bin/bash\npython {tool} {given} trainer.max_steps=1 out=plain\n")
    job = cluster("sbatch", "--parsable", "--ntasks=2", "--open-mode=append", script).strip()
    assert "JobState=COMPLETED" in cluster.ends(job), cluster.log(job)
    assert (cluster.home / "plain" / "last.pt").is_file()
