"""Being told to stop: between steps, while something hangs, and once more."""

import fcntl
import functools
import os
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from spl.processes.signals import StopSignals
from spl.runs import checkpoint


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(StopSignals, "PATIENCE_S", 0.3)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_a_flag_that_whoever_looks_at_it_may_take_time_to_follow(number, quick):
    before = signal.getsignal(signal.SIGINT)
    with StopSignals() as stop:
        assert not stop.has_come()
        os.kill(os.getpid(), number)
        assert stop.has_come()
        time.sleep(0.5)
    assert signal.getsignal(signal.SIGINT) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_hangs_is_interrupted_after_a_while(number, quick):
    started = time.monotonic()
    with StopSignals():
        os.kill(os.getpid(), number)
        with pytest.raises(KeyboardInterrupt):
            time.sleep(20)
    assert 0.2 < time.monotonic() - started < 10


def test_what_takes_its_time_is_not_interrupted(quick):
    with StopSignals() as stop:
        with stop.patience():
            with stop.patience():
                os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.5)
        assert stop.has_come()


def test_a_second_ctrl_c_interrupts_unless_it_follows_at_once():
    with StopSignals() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.has_come()
        time.sleep(1.05 * StopSignals.TWICE_S)
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def run_script(text: str, *argv: str, **kwargs) -> "subprocess.Popen[str]":
    """Start Python with a script that says "ready" when it is; return once it has said so."""
    process = subprocess.Popen(
        [sys.executable, "-c", text, *argv],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **kwargs,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


BLOCKED = """
import os, sys, threading
from concurrent.futures import ThreadPoolExecutor
from spl.processes import signals
signals.StopSignals.PATIENCE_S = float(sys.argv[2])
signals.PARTING_S = 0.2
with signals.end_at_second_ctrl_c():
    try:
        with signals.StopSignals():
            with ThreadPoolExecutor(1) as pool:
                print("ready", flush=True)
                pool.submit(open, sys.argv[1]).result()  # a FIFO that nobody writes to
    except KeyboardInterrupt:
        print("saved", flush=True)
    sys.exit(signals.leave(signals.EXIT_CODE))
"""


@pytest.fixture
def fifo(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    return str(tmp_path / "fifo")


def test_one_ctrl_c_ends_what_a_blocked_thread_would_hold_up_for_ever(fifo):
    process = run_script(BLOCKED, fifo, "0.3")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert (out, err, process.returncode) == ("saved\n", "", 130)


def test_a_second_ctrl_c_ends_the_process_at_once(fifo):
    process = run_script(BLOCKED, fifo, "60")
    started = time.monotonic()
    process.send_signal(signal.SIGINT)
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)  # passed on by a wrapper
    time.sleep(0.4)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    time.sleep(0.1)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert time.monotonic() - started < 5
    assert (out, process.returncode) == ("", 130)
    assert err == "spl: ended at once by a second Ctrl-C; what was saved before stays\n"


LOCKED = """
import ctypes
from spl.processes import signals
libc, lock = ctypes.CDLL(None), ctypes.create_string_buffer(64)
libc.pthread_mutex_lock(lock)
with signals.end_at_second_ctrl_c(), signals.StopSignals():
    print("ready", flush=True)
    libc.pthread_mutex_lock(lock)  # which does not return, for no signal either
"""


@pytest.mark.skipif(sys.platform != "linux", reason="zeros are a mutex there")
def test_a_second_ctrl_c_ends_a_library_that_looks_at_no_signal():
    process = run_script(LOCKED)
    process.send_signal(signal.SIGINT)
    time.sleep(0.4)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=10)
    assert process.returncode == 130


FORKED = """
import os, signal, sys, time
from spl.processes import signals
with signals.end_at_second_ctrl_c(), signals.StopSignals() as stop:
    if not os.fork():
        time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGINT)
        os._exit(0)
    print("ready", flush=True)
    os.kill(os.getpid(), signal.SIGINT)
    os.wait()
    time.sleep(0.2)
    print("saved", stop.has_come())
"""


def test_a_ctrl_c_that_a_forked_worker_receives_too_is_not_a_second_one():
    process = run_script(FORKED)
    out, err = process.communicate(timeout=20)
    assert (out, err, process.returncode) == ("saved True\n", "", 0)


ALONE = """
import signal, sys, time
from spl.processes.signals import StopSignals
print("ready", flush=True)
sys.stdin.readline()
with StopSignals() as stop:
    signal.raise_signal(signal.SIGHUP)
    print(stop.has_come())
"""


@pytest.mark.parametrize(("is_ignored", "has_come"), [(False, "True"), (True, "False")])
def test_a_hangup_is_a_signal_to_stop_unless_it_was_ignored(is_ignored, has_come):
    ignore = functools.partial(signal.signal, signal.SIGHUP, signal.SIG_IGN) if is_ignored else None
    process = run_script(ALONE, stdin=subprocess.PIPE, preexec_fn=ignore)  # as nohup does
    out, err = process.communicate("go\n", timeout=20)
    assert (out, err, process.returncode) == (f"{has_come}\n", "", 0)


@contextmanager
def in_terminal(*argv: str) -> "Iterator[tuple[subprocess.Popen[bytes], int]]":
    """Start ``spl`` as the foreground of a terminal of its own; yield it and the terminal's other end."""
    above, below = os.openpty()

    def take() -> None:
        fcntl.ioctl(below, termios.TIOCSCTTY, 0)

    process = subprocess.Popen(
        [sys.executable, "-m", "spl", *argv],
        stdin=below,
        stdout=below,
        stderr=below,
        start_new_session=True,
        preexec_fn=take,
        cwd=Path(__file__).parents[1],  # for the worlds that fail
    )
    os.close(below)
    try:
        yield process, above
    finally:
        process.kill()
        process.wait()


def read_until(terminal: int, word: bytes, timeout_s: float = 60.0) -> None:
    told, until = b"", time.monotonic() + timeout_s
    while word not in told:
        assert time.monotonic() < until, told
        if select.select([terminal], [], [], 1.0)[0]:
            told += os.read(terminal, 4_096)


SMOKE = ["--config", str(Path(__file__).parents[2] / "configs" / "smoke" / "agent.yaml")]


def test_a_closed_terminal_leaves_a_run_that_was_saved(tmp_path):
    argv = [*SMOKE, "--num_steps", "1000000", "--num_envs", "2", "--runs", str(tmp_path)]
    with in_terminal("train", "agent", *argv) as (process, terminal):
        read_until(terminal, b"steps/s")
        os.close(terminal)
        assert process.wait(timeout=60) == 130
    (run,) = (tmp_path / "agent").iterdir()
    state = checkpoint.load(run / "checkpoints")
    assert state["progress"]["step"] > 0
    assert "fault" not in (run / "metrics.jsonl").read_text()  # the workers waited for the run to end


def test_ctrl_c_in_a_terminal_once_and_twice(tmp_path):
    argv = [*SMOKE, "--env", "faulty_worlds:FaultyWorld", "--runs", str(tmp_path), "--env_workers", "false"]
    argv += ["--env.kwargs.kind", "hang", "--env.kwargs.at", "3"]
    with in_terminal("train", "agent", *argv) as (process, terminal):
        read_until(terminal, b"threads")
        time.sleep(0.5)
        os.write(terminal, b"\x03")
        time.sleep(0.5)
        assert process.poll() is None  # it hangs, and is given its time
        os.write(terminal, b"\x03")
        assert process.wait(timeout=5) == 130
        os.close(terminal)
