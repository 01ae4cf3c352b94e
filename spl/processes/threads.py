"""The number of torch threads: the free cores, checked again during the run.

A thread beside a busy neighbour keeps all others waiting at every operation: on 2 cores, two threads then
made 13 updates a second where one made 29.
"""

import contextlib
import math
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from spl.processes.ranks import num_launched

MOST = 8  # more threads than this do not make small updates faster
LOOK_EVERY_S = 5.0
FIRST_LOOK_S = 0.2
NUM_AGREEING = 2  # looks in a row before the number changes


class Threads:
    """Sets torch's threads: to a fixed number, or to what is free, now and later.

    A fixed number makes sums, and so a whole run, come out the same to the bit.

    Args:
        fixed: the number; None follows the neighbours, where ``/proc/stat`` tells of them.
    """

    def __init__(self, fixed: int | None) -> None:
        self.cores, quota = allowed_cores(), quota_of_cores()
        if fixed is None and (others := num_launched("LOCAL_WORLD_SIZE")) > 1:
            fixed = share_of_cores(others)  # they are as busy as this one
        is_measurable = Path("/proc/stat").is_file() and quota >= len(self.cores)
        self.is_fixed = fixed is not None or not is_measurable
        self.count = min(MOST, len(self.cores), quota) if fixed is None else fixed
        self._wanted: list[int] = []
        self._since = (time.monotonic(), 0.0)
        if not self.is_fixed:
            self._since = (time.monotonic(), others_s(self.cores))
            time.sleep(FIRST_LOOK_S)
            self.count = self._free()
        torch.set_num_threads(self.count)

    def __str__(self) -> str:
        """Say how many there are, and how a run repeats to the bit."""
        return f"{self.count}" + (
            "" if self.is_fixed else f" just now; --num_threads {self.count} repeats to the bit"
        )

    def look(self) -> str | None:
        """Change the number if others have come or gone for a while; return what to say of it."""
        if self.is_fixed or time.monotonic() - self._since[0] < LOOK_EVERY_S:
            return None
        self._wanted = [*self._wanted, self._free()][-NUM_AGREEING:]
        if len(self._wanted) < NUM_AGREEING or len(set(self._wanted)) > 1 or self._wanted[0] == self.count:
            return None
        before, self.count = self.count, self._wanted[0]
        torch.set_num_threads(self.count)
        return f"{before} -> {self.count}, as others leave {self.count} of {len(self.cores)} cores"

    def _free(self) -> int:
        """Return how many cores others have left since the last look, from 1 to ``MOST``."""
        (then, before), (now, spent) = self._since, (time.monotonic(), others_s(self.cores))
        self._since = (now, spent)
        free = len(self.cores) - (spent - before) / max(now - then, 1e-9)
        return max(1, min(MOST, round(free)))


@contextlib.contextmanager
def torch_as_before() -> Iterator[None]:
    """Give torch its number of threads back at the end, and numbers too small to be normal."""
    before, smallest = torch.get_num_threads(), torch.tensor(1e-40)
    keeps_denormals = bool(smallest * 1 != 0)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        torch.set_flush_denormal(not keeps_denormals)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Let torch's operations run on one thread meanwhile: those of a single sample are too small to share.

    Shared, each of them waits for a thread that a neighbour's work may hold up: on 2 busy cores a decision
    then took 10 ms in the mean instead of 2, on idle ones no less than on one.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def share_of_cores(parts: int) -> int:
    """Return the number of threads for each of ``parts`` processes that work at a time: the cores divided."""
    return max(1, min(MOST, min(len(allowed_cores()), quota_of_cores()) // parts))


def allowed_cores() -> list[int]:
    """Return the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def quota_of_cores() -> int:
    """Return how many cores' time the control group may take, a very large number where it has no limit."""
    path = Path("/sys/fs/cgroup/cpu.max")
    words = path.read_text().split() if path.is_file() else ["max"]
    return max(1, math.ceil(int(words[0]) / int(words[1]))) if words[0].isdigit() else sys.maxsize


def others_s(cores: list[int]) -> float:
    """Return the CPU seconds that all but this process and its workers have spent on ``cores`` so far."""
    ticks_per_s = os.sysconf("SC_CLK_TCK")
    busy = 0
    for line in Path("/proc/stat").read_text().splitlines():
        name, *fields = line.split()
        if name[:3] == "cpu" and name[3:].isdigit() and int(name[3:]) in cores:
            user, nice, system, _, _, *rest = (int(field) for field in fields[:8])  # but idle, waiting
            busy += user + nice + system + sum(rest)
    own = time.process_time() * ticks_per_s
    for worker in multiprocessing.active_children():
        stat = Path(f"/proc/{worker.pid}/stat")
        if stat.is_file():
            own += sum(int(field) for field in stat.read_text().rsplit(")", 1)[1].split()[11:13])
    return (busy - own) / ticks_per_s
