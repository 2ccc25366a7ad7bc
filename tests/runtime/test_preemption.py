"""Signals: outside of a training they stop the program where it is, in one they are kept."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from p2seg.runtime.preemption import RETRY, Stopped, noticing, stopping


def send(number):
    os.kill(os.getpid(), number)
    time.sleep(0)  # Python hears it between two instructions


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP])
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


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGHUP])
def test_a_signal_that_is_ignored_stays_so(number):
    before = signal.signal(number, signal.SIG_IGN)
    try:
        with stopping(), noticing() as notice:
            send(number)
            assert notice.number == 0
        assert signal.getsignal(number) is signal.SIG_IGN
    finally:
        signal.signal(number, before)


def test_other_threads_do_without():
    seen = []

    def work():
        with stopping(), noticing() as notice:
            seen.append(notice.number)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [0]


@pytest.mark.parametrize("ignored", [False, True])
def test_a_worker_outlives_what_is_sent_to_the_whole_job_and_ends_when_it_is_sent_again(ignored):
    """SIGHUP ends it neither then, if `nohup` has started the job."""
    first = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN); " if ignored else ""
    code = first + (
        "from p2seg.runtime import preemption; preemption._PATIENCE = 0.2"
        "; preemption.outlive_the_signal(); print('ready', flush=True); import time; time.sleep(30)"
    )
    worker = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    try:
        worker.stdout.readline()
        for number in (signal.SIGINT, signal.SIGUSR1, signal.SIGHUP, signal.SIGTERM):
            worker.send_signal(number)
        time.sleep(0.5)
        if ignored:
            worker.send_signal(signal.SIGHUP)
            time.sleep(0.2)
        assert worker.poll() is None
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(timeout=5) == 128 + signal.SIGTERM
    finally:
        worker.kill()
        worker.stdout.close()
        worker.wait()
