"""The monitor at work: what is usual for a run's agent, and how well failures are found.

The signs that the monitor goes by are in :mod:`spl.agents.monitor.monitor`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.progress import Progress

from spl.agents.conditions import UNTOUCHED, Condition
from spl.agents.dqn import MultimodalDqn
from spl.agents.evaluation.playing import play, policy_of
from spl.agents.monitor.fitted import load_usual, save_usual
from spl.agents.monitor.monitor import Fitting, ModalityMonitor, Usual
from spl.config.errors import UsageError
from spl.envs.adapter import AudioVisualEnv
from spl.records import AUDIO, VIDEO, Observation
from spl.runs.directory import generator_of
from spl.runs.logger import print_table

FIT_STEPS = 10_000  # of running that goes well, at least
FIT_SEEDS = 500_000  # by which their episodes' seeds lie beyond those of the evaluation


def usual_running(
    run: Path,
    step: int,
    agent: MultimodalDqn,
    envs: Sequence[AudioVisualEnv],
    bar: Progress,
    *,
    history: int,
    seed: int,
) -> Usual:
    """Return what is usual, of the run's folder, or fitted to episodes of its own and saved there.

    The agent plays with all modalities, with one absent, and at random in turn: each brings it to states
    that the others do not, and in none of them does a stream fail.
    """
    try:
        return load_usual(run, step)
    except UsageError:
        pass
    fitting = Fitting(len(envs))
    spec = envs[0].spec_of_streams
    absent: list[tuple[int, ...]] = [()]
    absent += [(AUDIO,), (VIDEO,)] if spec.has_video and spec.has_audio else []
    turns = [(0.0, one) for one in absent] + [(1.0, ())]
    task = bar.add_task("what is usual", total=FIT_STEPS)
    number = 0
    while fitting.num_steps < FIT_STEPS or number < len(turns):
        epsilon, fitting.absent = turns[number % len(turns)]
        agent.generator = generator_of(seed, f"usual {number}")
        seed_of_pass = (seed + FIT_SEEDS + number) % 2**32
        play(policy_of(agent, epsilon), envs, UNTOUCHED, history=history, seed=seed_of_pass, watch=fitting)
        bar.update(task, completed=fitting.num_steps)
        number += 1
    usual = fitting.usual()
    save_usual(run, usual, step)
    return usual


class Watched:
    """A monitor that keeps what it found, to be compared with what happened.

    Args:
        usual: what is.
        condition: what happens.
        num_envs: environments.
    """

    def __init__(self, usual: Usual, condition: Condition, *, num_envs: int) -> None:
        self.monitor = ModalityMonitor(usual, num_envs=num_envs)
        self.condition = condition
        self._episodes: list[list[NDArray[np.bool_]]] = []
        self._open = [0] * num_envs

    def __call__(self, observation: Observation, env: int = 0, *, is_first: bool) -> Observation:
        """Return the observation without what failed."""
        given = self.monitor(observation, env, is_first=is_first)
        if is_first:
            self._open[env] = len(self._episodes)
            self._episodes.append([])
        self._episodes[self._open[env]].append(self.monitor.failed[env].copy())
        return given

    def as_json(self) -> dict[str, Any]:
        """Return the condition and how well it was found, as JSON holds them."""
        found = detection([np.array(one) for one in self._episodes], self.condition)
        return {**self.condition.as_json(is_monitored=True), "monitor": found}


def detection(episodes: Sequence[NDArray[np.bool_]], condition: Condition) -> dict[str, float | None]:
    """Return how soon a failure was found, and how often one was that was none.

    Args:
        episodes: of each the flags ``(T, 2)`` that the monitor set for video and audio.
        condition: what happened.

    Returns:
        ``false_alarms``: share of steps at which a modality that worked was held to have failed. Of a
        failure also ``found_median`` and ``found_90``: steps until it was found, 1 at once, in half and in
        nine tenths of the episodes that it came in; None: never; and ``found``, the share in which it was.
    """
    num_steps = sum(map(len, episodes))
    num_false, delays = 0, []
    for flags in episodes:
        is_false = flags.copy()
        if condition.modality is not None and len(flags) > condition.from_step:
            is_false[condition.from_step :, condition.modality] = False
            after = np.flatnonzero(flags[condition.from_step :, condition.modality])
            delays.append(float(after[0] + 1) if after.size else np.inf)
        num_false += int(is_false.any(axis=1).sum())
    told: dict[str, float | None] = {"false_alarms": num_false / max(1, num_steps)}
    if delays:
        told["found"] = float(np.isfinite(delays).mean())
        for name, share in (("found_median", 0.5), ("found_90", 0.9)):
            steps = float(np.quantile(delays, share, method="inverted_cdf"))
            told[name] = steps if np.isfinite(steps) else None
    return told


def print_monitor(result: dict[str, Any]) -> None:
    """Print how soon each failure was found, and what is retained with the monitor; nothing without one."""
    found = result["conditions"]
    columns = ["monitored", "found", "median step", "90 % by step", "false alarms", "retained", "without it"]
    rows = []
    for name, one in found.items():
        if (monitor := one.get("monitor")) is None:
            continue
        soon = [
            "-" if monitor.get(key) is None else f"{monitor[key]:.0f}" for key in ("found_median", "found_90")
        ]
        share = "-" if "found" not in monitor else f"{monitor['found']:.0%}"
        before = found[name.removesuffix(", monitored")]
        kept = ["-" if "retained" not in each else f"{each['retained']:.0%}" for each in (one, before)]
        rows.append([name.removesuffix(", monitored"), share, *soon, f"{monitor['false_alarms']:.2%}", *kept])
    if rows:
        print_table("What the monitor found, steps counted from the failure on", columns, rows)
