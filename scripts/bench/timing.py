"""How every benchmark here measures: in turns, with medians, and with ratios between contenders of one run.

In each round each contender is measured once, in a new random order, so that noise hits all alike. Times of
the processor and sizes of memory are read from ``/proc``.
"""

import json
import math
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

MIN_ROUNDS = 5  # which a spent budget does not cut
Name = TypeVar("Name")
Value = TypeVar("Value")


def take_turns(
    measures: Mapping[Name, Callable[[], Value]], num_rounds: int, *, budget_s: float = math.inf
) -> dict[Name, list[Value]]:
    """Return what each contender's measure gave in each round; past five, none begins beyond the budget."""
    found: dict[Name, list[Value]] = {name: [] for name in measures}
    generator, order, end = random.Random(0), [*measures], time.perf_counter() + budget_s
    for done in range(num_rounds):
        if done >= MIN_ROUNDS and time.perf_counter() > end:
            break
        generator.shuffle(order)
        for name in order:
            found[name].append(measures[name]())
    return found


def clock_of(device: str, num_threads: int) -> Callable[[], float]:
    """Return the clock to time by: for one thread on the CPU its own, which stands while others run."""
    return time.process_time if device == "cpu" and num_threads == 1 else time.perf_counter


def seconds(
    call: Callable[[], object], *, device: str = "cpu", clock: Callable[[], float] = time.perf_counter
) -> float:
    """Return the seconds that one call takes, until the device is done with it."""
    started = clock()
    call()
    if device != "cpu":
        import torch

        torch.cuda.synchronize()
    return clock() - started


def median_seconds(
    calls: Mapping[str, Callable[[], object]],
    num_rounds: int,
    *,
    device: str,
    num_threads: int,
    budget_s: float = math.inf,
) -> dict[str, float]:
    """Return the median seconds of each call, measured in turns after one call of each that is not timed."""
    clock = clock_of(device, num_threads)

    def measure(call: Callable[[], object]) -> Callable[[], float]:
        return lambda: seconds(call, device=device, clock=clock)

    for call in calls.values():
        call()
    times = take_turns({name: measure(call) for name, call in calls.items()}, num_rounds, budget_s=budget_s)
    return {name: statistics.median(values) for name, values in times.items()}


def ratios(values: Sequence[float], baseline: Sequence[float]) -> list[float]:
    """Return each value over the baseline's of the same round."""
    return [one / other for one, other in zip(values, baseline, strict=True)]


def run_only(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Any:
    """Run a script in a Python process of its own and return the JSON of its last line of output."""
    done = subprocess.run(
        [sys.executable, *command], env=environment, check=True, stdout=subprocess.PIPE, text=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def own_processes() -> list[str]:
    """Return this process and its children, as ``/proc`` names them."""
    children = "".join(path.read_text() for path in Path("/proc/self").glob("task/*/children"))
    return ["self", *children.split()]


def own_cpu_s() -> float:
    """Return the CPU seconds of this process and its running children so far."""
    stats = [Path("/proc", process, "stat").read_text() for process in own_processes()]
    ticks = sum(int(word) for text in stats for word in text.rsplit(")", 1)[1].split()[11:13])
    return ticks / os.sysconf("SC_CLK_TCK")


def machine_cpu_s() -> float:
    """Return the CPU seconds that all processes of the machine have taken so far."""
    ticks = [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
    return (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")  # but idle and waiting for a disk


def share_of_others(wall_s: float, own_s: float, machine_s: float) -> float:
    """Return the share of the machine that other processes took: figures count where it is small."""
    return max(0.0, machine_s - own_s) / (wall_s * (os.cpu_count() or 1))


def memory_bytes(field: str, process: str = "self") -> int:
    """Return ``VmRSS``, ``VmHWM`` (its peak) or ``RssAnon`` (no pages of files) of a process's status."""
    return 1024 * int(Path("/proc", process, "status").read_text().split(f"{field}:")[1].split()[0])
