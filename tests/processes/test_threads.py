"""Threads follow what others leave of the machine, after a while and not at once; a fixed number stays."""

import sys
import time
from pathlib import Path

import pytest
import torch

from spl.processes import threads
from spl.processes.threads import LOOK_EVERY_S, MOST, Threads, allowed_cores, others_s, quota_of_cores


class Machine:
    """A clock, and others that keep a number of its cores busy."""

    def __init__(self, num_cores: int, busy: float) -> None:
        self.cores, self.busy = list(range(num_cores)), busy
        self.now, self.spent = 100.0, 7.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.spent += seconds * self.busy


@pytest.fixture
def machine(monkeypatch):
    def make(num_cores: int, busy: float, quota: int = sys.maxsize) -> Machine:
        one = Machine(num_cores, busy)
        monkeypatch.setattr(threads, "time", one)
        monkeypatch.setattr(threads, "others_s", lambda cores: one.spent)
        monkeypatch.setattr(threads, "allowed_cores", lambda: one.cores)
        monkeypatch.setattr(threads, "quota_of_cores", lambda: quota)
        return one

    return make


@pytest.mark.parametrize(
    ("num_cores", "busy", "expected"),
    [(4, 0, 4), (4, 1.4, 3), (4, 2.6, 1), (2, 2, 1), (2, 5, 1), (64, 0, MOST)],
)
def test_a_run_begins_with_what_is_free(machine, num_cores, busy, expected):
    machine(num_cores, busy)
    assert Threads(None).count == torch.get_num_threads() == expected


def test_the_number_falls_and_rises_with_the_neighbours_once_two_looks_agree(machine):
    one = machine(2, 0.0)
    ours = Threads(None)
    told = []
    for busy in (0.0, 1.0, 0.0, 1.0, 1.0, 1.0, 0.1, 0.0):
        one.busy = busy
        one.sleep(LOOK_EVERY_S + 0.1)
        told.append((ours.look(), torch.get_num_threads()))
        assert ours.look() is None  # not twice in an instant
    assert [count for _, count in told] == [2, 2, 2, 2, 1, 1, 1, 2]
    assert told[4][0] == "2 -> 1, as others leave 1 of 2 cores"
    assert told[7][0] == "1 -> 2, as others leave 2 of 2 cores"
    assert [sentence for sentence, _ in told].count(None) == 6


def test_a_fixed_number_stays(machine):
    one = machine(4, 3.0)
    ours = Threads(3)
    one.sleep(10 * LOOK_EVERY_S)
    assert ours.look() is None
    assert ours.is_fixed
    assert ours.count == torch.get_num_threads() == 3


def test_a_quota_is_taken_whole_because_neighbours_do_not_count_in_it(machine):
    one = machine(8, 6.0, quota=3)
    ours = Threads(None)
    one.sleep(LOOK_EVERY_S)
    assert (ours.count, ours.look(), ours.is_fixed) == (3, None, True)


@pytest.mark.parametrize(
    ("text", "expected"), [("max 100000", sys.maxsize), ("150000 100000", 2), ("5 100", 1)]
)
def test_quota(text, expected, monkeypatch, tmp_path):
    (tmp_path / "cpu.max").write_text(text + "\n")
    monkeypatch.setattr(threads, "Path", lambda name: tmp_path / Path(name).name)
    assert quota_of_cores() == expected


@pytest.mark.skipif(not Path("/proc/stat").is_file(), reason="no /proc/stat")
def test_our_own_work_is_not_that_of_others():
    cores = allowed_cores()
    before, started = others_s(cores), time.process_time()
    while time.process_time() - started < 0.5:
        sum(range(1000))
    spent = others_s(cores) - before
    assert spent > -0.1  # never less than nothing, but for the clock's ticks


def test_the_cpu_seconds_of_others_are_those_of_our_cores_less_our_own(monkeypatch, tmp_path):
    (tmp_path / "stat").write_text(
        "cpu  9 9 9 9 9 9 9 9 0 0\n"
        "cpu0 100 20 30 5000 7000 1 2 3 0 0\n"
        "cpu1 900 0 0 0 0 0 0 0 0 0\n"
        "cpu2 10 0 0 0 0 0 0 40 0 0\n"
        "intr 5\n"
    )
    monkeypatch.setattr(threads, "Path", lambda name: tmp_path / Path(name).name)
    monkeypatch.setattr(threads.os, "sysconf", lambda name: 100)
    monkeypatch.setattr(threads.time, "process_time", lambda: 0.5)
    assert others_s([0, 2]) == pytest.approx((156 + 50) / 100 - 0.5)
