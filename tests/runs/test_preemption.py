"""Signals: outside of a training they stop the program where it is, in one they are kept."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from p2seg.runs.preemption import RETRY, Stopped, noticing, stopping


def send(number):
    os.kill(os.getpid(), number)
    time.sleep(0)  # Python hears it between two instructions


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_stops_the_program_once(number):
    before = signal.getsignal(number)
    cleaned = []
    with pytest.raises(Stopped) as stopped, stopping():  # noqa: PT012
        try:
            send(number)
        finally:
            send(number)  # does not break off what cleans up
            cleaned.append(True)
    assert cleaned
    assert stopped.value.code == RETRY == 75
    assert signal.Signals(number).name in str(stopped.value)
    assert signal.getsignal(number) is before


def test_it_is_no_mistake_that_code_may_mend():
    assert not issubclass(Stopped, Exception)


def test_a_notice_keeps_the_first_signal():
    with noticing() as notice:
        assert notice.number == 0
        send(signal.SIGUSR1)
        send(signal.SIGTERM)
    assert notice.number == signal.SIGUSR1


def test_where_nothing_would_be_lost_it_stops_at_once():
    with noticing() as notice:
        with pytest.raises(Stopped), notice.at_once():
            send(signal.SIGTERM)
        with pytest.raises(Stopped), notice.at_once():  # it came before
            pass


def test_the_keyboard_is_heard_twice():
    with noticing() as notice:
        send(signal.SIGINT)
        assert Stopped(notice.number).code == 130
        with pytest.raises(KeyboardInterrupt):
            send(signal.SIGINT)


def test_a_signal_that_is_ignored_stays_so():
    before = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    try:
        with stopping():
            send(signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_other_threads_do_without():
    seen = []

    def work():
        with stopping(), noticing() as notice:
            seen.append(notice.number)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [0]


def test_a_worker_outlives_what_is_sent_to_the_whole_job_and_ends_when_it_is_sent_again():
    code = (
        "from p2seg.runs import preemption; preemption._PATIENCE = 0.2"
        "; preemption.outlive_the_signal(); print('ready', flush=True); import time; time.sleep(30)"
    )
    worker = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    try:
        worker.stdout.readline()
        for number in (signal.SIGINT, signal.SIGUSR1, signal.SIGTERM):
            worker.send_signal(number)
        time.sleep(0.5)
        assert worker.poll() is None
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(timeout=5) == 128 + signal.SIGTERM
    finally:
        worker.kill()
        worker.stdout.close()
        worker.wait()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process with its parent")
def test_a_worker_ends_with_its_killed_parent():
    code = (
        "import multiprocessing, os, signal, time\n"
        "from p2seg.runs.preemption import end_with_parent\n"
        "def work():\n"
        "    end_with_parent(); print(os.getpid(), flush=True); time.sleep(60)\n"
        "multiprocessing.get_context('fork').Process(target=work).start()\n"
        "time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-W", "ignore", "-c", code], stdout=subprocess.PIPE)
    with parent, parent.stdout:
        worker = int(parent.stdout.readline())
        os.kill(worker, 0)
        parent.kill()
        began = time.monotonic()
        parent.stdout.read()  # its end comes when nobody holds the pipe any more
        assert time.monotonic() - began < 30
