"""What ``spl bench`` measures: the parts of a training alone, its whole loop, and the way to a return."""

import contextlib
import os
import statistics
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from rich.console import Console
from torch.utils.flop_counter import FlopCounterMode

from spl.agents.build import assemble, new_agent, new_memory, open_envs
from spl.agents.checkpoint import Parts
from spl.agents.collectors.progress import RECENT_EPISODES, Episode
from spl.agents.config import TrainAgentConfig
from spl.agents.loop import Collector, learn
from spl.agents.train import train_agent
from spl.config.errors import RunError
from spl.envs.actions import as_action
from spl.processes.threads import Threads
from spl.runs.logger import say

if TYPE_CHECKING:
    from spl.agents.bench import BenchConfig

SIDE = 1_536  # of the square matrices whose product shows the peak
FEW = 200  # transitions beyond a mini-buffer that are remembered before updates are timed
SLICES = 5  # of each measurement; their median is told
ROW_EVERY = 25  # steps between two looks at the whole loop's clock
TELL_EVERY_S = 5.0  # how far a training to a return is
COMMAND = ["spl", "bench"]
GIGA = 1e9


def measure_parts(config: "BenchConfig", folder: Path, console: Console) -> dict[str, Any]:
    """Return what each part of a training takes, measured alone.

    Returns:
        Rates a second, medians of `SLICES` slices: ``collecting`` (steps with the network acting, which
        explores as seldom as at the end of a training), ``acting``
        (the network alone, one action per environment), ``updates``, ``env`` (steps with random actions).
        ``threads``, ``num_envs``, ``batch``, ``in_thirds``; ``bytes_per_transition``;
        ``gflop_per_update``, counted in the matrix products and convolutions of an update, forward and back,
        and None where it is compiled; ``peak_gflops``, the best rate of a product of two square matrices of
        `SIDE` (8 times that on a GPU) in the network's precision, on the same device and threads.
    """
    training = _seldom_exploring(config.training(folder))
    threads = Threads(training.num_threads)
    with contextlib.ExitStack() as held:
        training, envs, _ = open_envs(training, None)
        held.enter_context(contextlib.closing(envs))
        agent = new_agent(training, envs)
        say(console, f"measuring the parts, {5 * config.duration_s:g} s and the time to fill the memory")
        memory = new_memory(training, envs, agent, folder / "memory")
        parts = assemble(training, agent, envs, memory)
        parts.collector.begin(envs.start().begun)
        finish = waiting_for(agent.device)
        needed = min(training.loop.mini_buffer + FEW, training.memory.capacity)
        while len(memory) < needed:
            _collect(parts)
        figures: dict[str, Any] = {
            "threads": threads.count,
            "num_envs": envs.num_envs,
            "batch": training.loop.batch_size,
            "in_thirds": agent.has_thirds,
            "bytes_per_transition": memory.bytes_per_transition,
            "capacity": training.memory.capacity,
        }

        def rate(call: Callable[[], object]) -> float:
            return rate_of(call, config.duration_s, finish)

        figures["collecting"] = envs.num_envs * rate(lambda: _collect(parts))
        assert isinstance(parts.collector, Collector)
        stack = parts.collector.history.stack()
        figures["acting"] = rate(lambda: agent.act(stack, 0.0))
        parts.progress.replays_due = 10**12
        updates = learn(
            *(agent, memory, parts.optimizer, parts.progress, training.loop),
            curriculum=parts.curriculum,
            max_grad_norm=training.agent.max_grad_norm,
        )
        figures["updates"] = rate(lambda: next(updates))
        figures["gflop_per_update"] = None
        if not training.agent.compile:
            with FlopCounterMode(display=False) as counter:
                next(updates)
            figures["gflop_per_update"] = counter.get_total_flops() / GIGA
        figures["peak_gflops"] = peak_gflops(agent.device, training.agent.precision, config.duration_s)
        generator = np.random.default_rng(training.seed)

        def step() -> None:
            drawn = generator.integers(envs.action_sizes, size=(envs.num_envs, len(envs.action_sizes)))
            envs.step([as_action(one) for one in drawn])

        figures["env"] = envs.num_envs * rate(step)
    return figures


def _seldom_exploring(training: TrainAgentConfig) -> TrainAgentConfig:
    """Return the training with the exploration that it has at its end."""
    agent = replace(training.agent, epsilon_start=training.agent.epsilon_end, epsilon_warmup_steps=0)
    return replace(training, agent=agent)


def _collect(parts: Parts) -> None:
    """Take a step in each environment.

    Raises:
        RunError: if one fails.
    """
    if faults := parts.collector.step().faults:
        raise RunError(f"the environment failed while it was measured: {faults[0]}")


def waiting_for(device: torch.device) -> Callable[[], None]:
    """Return a function that waits until the device is done."""

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return wait


def rate_of(call: Callable[[], object], seconds: float, finish: Callable[[], object]) -> float:
    """Return how often a second something can be called: the median over `SLICES` slices.

    Together they take ``seconds``. Called once before, for what is only made once. ``finish`` waits for the
    device.
    """
    call()
    rates = []
    for _ in range(SLICES):
        finish()
        started, count, now = time.perf_counter(), 0, 0.0
        while now < seconds / SLICES:
            call()
            count += 1
            now = time.perf_counter() - started
        finish()
        rates.append(count / (time.perf_counter() - started))
    return statistics.median(rates)


def peak_gflops(device: torch.device, precision: str, seconds: float) -> float:
    """Return the best rate of a product of two square matrices, ``2 SIDE^3`` operations each, in GFLOP/s."""
    side = SIDE if device.type == "cpu" else 8 * SIDE
    one = torch.ones(side, side, device=device, dtype=getattr(torch, precision))
    finish = waiting_for(device)
    best, end = 0.0, time.perf_counter() + seconds
    while best == 0.0 or time.perf_counter() < end:
        finish()
        started = time.perf_counter()
        one @ one
        finish()
        best = max(best, 2 * side**3 / (time.perf_counter() - started) / GIGA)
    return best


def measure_loop(config: "BenchConfig", folder: Path) -> dict[str, float]:
    """Return ``loop_steps`` and ``loop_updates`` a second of ``spl train agent``, from its first update on.

    It explores as seldom as at the end of a training: an action at random costs no pass of the network.

    Raises:
        RunError: if the training ends before that.
        KeyboardInterrupt: if it is told to stop.
    """
    marks: list[tuple[int, int, float]] = []  # steps, updates, seconds

    def on_row(step: int, values: Mapping[str, Any]) -> bool:
        num_updates = values.get("train/n_updates", 0)
        if num_updates:
            marks.append((step, int(num_updates), time.perf_counter()))
        return not marks or marks[-1][2] - marks[0][2] < config.duration_s

    training = _seldom_exploring(
        config.training(folder, report_every_steps=ROW_EVERY, save_memory=False, checkpoint_every_steps=10**9)
    )
    result = train_agent(training, command=COMMAND, console=Console(quiet=True), on_row=on_row)
    measured_s = marks[-1][2] - marks[0][2] if marks else 0.0
    if not result.is_finished and measured_s < config.duration_s:
        raise KeyboardInterrupt
    if len(marks) < 2:
        raise RunError(
            f"the training ended after {result.step:,} steps, before its loop could be measured: "
            f"give it more, --num_steps {10 * training.num_steps}, or a smaller --memory.min_size"
        )
    steps, updates, seconds = (last - first for first, last in zip(marks[0], marks[-1], strict=True))
    return {"loop_steps": steps / seconds, "loop_updates": updates / seconds}


def measure_return(config: "BenchConfig", wanted: float, folder: Path, console: Console) -> dict[str, Any]:
    """Train until the last `RECENT_EPISODES` episodes of training earn ``wanted`` on average, or to the end.

    Returns:
        ``reached``: ``steps``, ``seconds`` and ``cpu_seconds`` (of this process and its workers) until then,
        the start of the run included; None where it never was. ``best``: the highest mean.

    Raises:
        KeyboardInterrupt: if it is told to stop.
    """
    recent: deque[float] = deque(maxlen=RECENT_EPISODES)
    means: list[float] = []
    reached: dict[str, float] = {}
    started, cpu, told = time.perf_counter(), _cpu_s(), time.perf_counter()

    def on_episode(step: int, episode: Episode) -> bool:
        nonlocal told
        recent.append(episode.total)
        if len(recent) == RECENT_EPISODES:
            means.append(statistics.fmean(recent))
        now = time.perf_counter()
        if now - told > TELL_EVERY_S:
            told = now
            of = f"the last {len(recent)} episodes earn {statistics.fmean(recent):.4g}"
            say(console, f"step {step:,} of {config.num_steps:,}, {now - started:.0f} s: {of}")
        if means and means[-1] >= wanted:
            reached.update(steps=step, seconds=now - started)
        return not reached

    training = config.training(folder, save_memory=False)
    result = train_agent(training, command=COMMAND, console=Console(quiet=True), on_episode=on_episode)
    if not reached and not result.is_finished:
        raise KeyboardInterrupt
    if reached:
        reached["cpu_seconds"] = _cpu_s() - cpu
    return {"reached": reached or None, "best": max(means, default=None)}


def _cpu_s() -> float:
    """Return the CPU seconds of this process and of those that it has waited for."""
    return sum(os.times()[:4])
