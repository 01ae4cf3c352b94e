"""``spl record``: an environment rolled out, by chance or by a trained agent, into a recording."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from spl.agents.evaluate import load_agent
from spl.agents.exploration import ModalityDropout
from spl.agents.history import Stack
from spl.agents.loop import Collector, Progress
from spl.agents.memory import ReplayMemory
from spl.agents.parts import StopSignals
from spl.agents.recording import trim
from spl.agents.run import generator_of, read_run
from spl.config import UsageError
from spl.envs.adapter import EnvConfig
from spl.envs.fleet import Fleet
from spl.report import Report

MAX_EPISODE_EDGES = 2  # slots per step at the most: every step could end its episode


@dataclass(frozen=True, kw_only=True)
class RecordConfig:
    """What is recorded, and where to."""

    env: EnvConfig = field(default_factory=EnvConfig)  # not with agent, which brings its own
    agent: str | None = None  # folder of a run whose agent acts; null: at random
    epsilon: float = 0.05  # the agent's chance of a random action
    steps: int = 20_000  # agent decisions
    seed: int = 0  # everything random follows from it
    out: str = "recordings/new"  # folder of the recording

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1, got {self.steps}")
        if self.agent is not None and self.env != EnvConfig():
            raise ValueError(f"agent {self.agent} brings its own environment: leave the env options out")
        if not 0.0 <= self.epsilon <= 1.0:
            raise ValueError(f"epsilon must be in [0, 1], got {self.epsilon}")


class RandomAgent:
    """Acts uniformly at random."""

    def __init__(self, num_actions: int, generator: np.random.Generator) -> None:
        self.num_actions = num_actions
        self.generator = generator

    def act(self, stack: Stack, epsilon: float) -> list[int]:
        """Return one action per environment."""
        return [int(a) for a in self.generator.integers(self.num_actions, size=len(stack.present))]


def one_env(config: EnvConfig, seed: int) -> Fleet:
    """Return a single environment, in this process."""
    return Fleet(config, num_envs=1, seed=seed, is_apart=False, timeout_s=None)


def record(config: RecordConfig, *, console: Console | None = None) -> dict[str, Any]:
    """Roll out ``config.steps`` steps into ``config.out``; return what the recording's header says of them.

    Raises:
        UsageError: if the folder is taken or cannot be written, or environment or agent do not serve.
    """
    folder = Path(config.out)
    if folder.exists() and any(folder.iterdir()):
        raise UsageError(f"the folder {folder} is not empty: choose another with --out")
    if config.agent is None:
        fleet = one_env(config.env, config.seed)
        agent: Any = RandomAgent(fleet.num_actions, generator_of(config.seed, "exploration"))
        history = 1
    else:
        agent, _, history, _ = load_agent(Path(config.agent))
        agent.generator = generator_of(config.seed, "exploration")
        fleet = one_env(read_run(Path(config.agent)).env, config.seed)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        memory = ReplayMemory(
            fleet.spec_of_streams, max(2, MAX_EPISODE_EDGES * config.steps), history=history, folder=folder
        )
    except OSError as error:
        why = f"{folder} cannot be written: {error.strerror}; choose another --out"
        raise UsageError(why if error.strerror else str(error)) from error
    progress = Progress()
    collector = Collector(
        agent,
        fleet,
        memory,
        progress,
        epsilon_at=lambda step: config.epsilon,
        dropout=ModalityDropout(0.0, 1.0, generator_of(config.seed, "dropout")),
        keep_reward=float,
    )
    title = f"spl record · {fleet.config.id} · seed {config.seed}"
    with (
        Report(folder, title, config.steps, console=console, is_logged=False) as report,
        StopSignals() as stop,
    ):
        collector.begin(fleet.start().begun)
        while progress.step < config.steps and not stop.has_come():
            for fault in collector.step().faults:
                report.say(f"fault      {fault}; it begins a new episode")
            if report.is_due():
                report.show(progress.step, {"steps/s": progress.step / report.elapsed_s})
    memory.meta = {
        **fleet.describe(),
        "actor": config.agent or "random",
        "seed": config.seed,
        "steps": progress.step,
    }
    memory.save(folder)
    del memory, collector
    trim(folder)
    fleet.close()
    return {
        "folder": folder,
        "steps": progress.step,
        "episodes": progress.episode,
        "is_finished": progress.step >= config.steps,
    }
