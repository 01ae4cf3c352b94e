"""Being told to stop: between steps, while something hangs, and once more."""

import os
import signal
import time

import pytest

from spl.signals import StopSignals


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(StopSignals, "PATIENCE_S", 0.3)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_a_flag_that_whoever_looks_at_it_may_take_time_to_follow(number, quick):
    with StopSignals() as stop:
        assert not stop.has_come()
        os.kill(os.getpid(), number)
        assert stop.has_come()
        time.sleep(0.5)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
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
