"""``spl record``: roll out an environment, at random or with a trained agent, into a recording."""

import contextlib
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from spl.agents.collectors.progress import Progress
from spl.agents.config import kept_run
from spl.agents.exploration import ModalityDropout
from spl.agents.history import Stack
from spl.agents.load import load_agent
from spl.agents.loop import Collector
from spl.agents.q_network.decoupled import Sizes
from spl.agents.replay.memory import ReplayMemory
from spl.config.errors import RunError, UsageError
from spl.config.fields import check_fields
from spl.config.options import PathName
from spl.config.ranges import Count, Seed, Share
from spl.data.exchange.formats import FormatName, recorded_as
from spl.data.recording_files import check_vacant, trim
from spl.data.recording_format import HEADER
from spl.envs.actions import as_action
from spl.envs.adapter import AudioVisualEnv
from spl.envs.chosen_streams import describe_left_out
from spl.envs.config import EnvConfig
from spl.envs.range_probe import measured
from spl.envs.registry import may_crash
from spl.envs.vector import Fault, VectorisedEnv
from spl.processes.signals import StopSignals
from spl.records import Action, Observation, Transition
from spl.runs.directory import generator_of
from spl.runs.logger import Report

MAX_FAULTS = 10  # of the environment, before recording is given up
MAX_EPISODE_EDGES = 2  # slots per step at the most: every step could end its episode
SAVE_EVERY_STEPS = 1_000  # what a kill can cost at the most


@dataclass(frozen=True, kw_only=True)
class RecordConfig:
    """What is recorded, and where to."""

    env: EnvConfig = field(default_factory=EnvConfig)  # not with agent, which brings its own
    agent: PathName | None = None  # run directory whose agent acts; null: random actions
    epsilon: Share = 0.05  # the agent's probability of a random action
    num_steps: Count = 20_000  # agent decisions
    seed: Seed = 0  # determines all random numbers
    out: PathName = "recordings/new"  # output folder; in Minari the name, such as beacon/random-v0
    format: FormatName = "spl"  # our own arrays, or a dataset that others read

    def __post_init__(self) -> None:
        check_fields(self)
        if self.agent is not None and self.env != EnvConfig():
            raise ValueError(f"agent {self.agent} brings its own environment: leave the env options out")
        if self.agent is None and self.epsilon != RecordConfig.epsilon:
            raise ValueError(
                f"epsilon is an agent's chance of a random action, and without --agent all are random: leave "
                f"epsilon out, got {self.epsilon:g}"
            )


class RandomAgent:
    """Acts uniformly at random."""

    def __init__(self, sizes: Sizes, generator: np.random.Generator) -> None:
        self.sizes = sizes
        self.generator = generator

    def decide(self, stack: Stack, epsilon: float) -> tuple[list[Action], None]:
        """Return one action per environment; nothing is remembered."""
        shape = len(stack.present), len(self.sizes)
        return [as_action(action) for action in self.generator.integers(self.sizes, size=shape)], None


def actor_of(config: RecordConfig) -> tuple[Any, VectorisedEnv, int, list[str]]:
    """Return who acts, the environment, the actor's history and what was assumed."""
    exploration, assumed = generator_of(config.seed, "exploration"), list[str]()
    if config.agent is None:
        env, assumed = measured(config.env, is_apart=may_crash(config.env.id))
    else:
        env = kept_run(Path(config.agent))[1].env
    envs = VectorisedEnv(env, num_envs=1, seed=config.seed, is_apart=may_crash(env.id), timeout_s=None)
    if config.agent is None:
        return RandomAgent(envs.action_sizes, exploration), envs, 1, assumed
    agent, _, history, _ = load_agent(Path(config.agent))
    agent.generator = exploration
    return agent, envs, history, assumed


def open_memory(
    folder: Path, envs: VectorisedEnv | AudioVisualEnv, num_steps: int, history: int
) -> ReplayMemory:
    """Return an empty memory in ``folder`` with room for ``num_steps`` steps, and for the faults among them.

    Raises:
        UsageError: if the folder is taken or cannot be written.
    """
    check_vacant(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return ReplayMemory(
            envs.spec_of_streams,
            MAX_EPISODE_EDGES * (num_steps + MAX_FAULTS + 1),  # a fault begins an episode, as the start does
            num_dimensions=len(envs.action_sizes),
            history=history,
            folder=folder,
        )
    except OSError as error:
        why = f"{folder} cannot be written: {error.strerror}; choose another --out"
        raise UsageError(why if error.strerror else str(error)) from error


def roll_out(
    collector: Collector,
    num_steps: int,
    report: Report,
    stop: StopSignals,
    *,
    save: Callable[[], None],
    save_every_steps: int | None = None,
    max_faults: int = MAX_FAULTS,
) -> None:
    """Let ``collector`` take steps until there are ``num_steps``, or fewer when told to stop.

    Whatever ends it, ``save`` is called last; and before, every ``save_every_steps``.

    Raises:
        RunError: if the environment fails too often.
    """
    progress, num_faults, saved_step = collector.progress, 0, -1
    every = num_steps if save_every_steps is None else save_every_steps
    due_step = progress.step + every
    try:
        while progress.step < num_steps and not stop.has_come():
            faults = collector.step().faults
            for sentence in collector.envs.take_news():
                report.say(f"range      {sentence}")
            report_faults(faults, report)
            num_faults += len(faults)
            if num_faults > max_faults:
                raise RunError(f"the environment failed {num_faults} times, the last time in {faults[-1]}")
            if progress.step >= due_step:
                with stop.patience():
                    save()
                saved_step, due_step = progress.step, progress.step + every
            if report.is_due():
                report.show(progress.step, {"steps/s": progress.step / report.elapsed_s})
    finally:
        if progress.step != saved_step:
            with stop.patience():
                save()


def save_recording(
    collector: Collector, memory: ReplayMemory, folder: Path, *, actor: str, seed: int, num_steps: int
) -> None:
    """Write what was remembered so far, of how many steps that were asked for, and who acted."""
    told = {"actor": actor, "seed": seed, "steps": collector.progress.step, "steps_asked": num_steps}
    memory.meta = {**collector.envs.streams, **told}
    memory.save(folder)


class HandRecording:
    """A recording of what is played by hand, one episode after the other, as ``spl record`` makes them.

    Args:
        folder: that is not there yet, or empty.
        env: that is played.
        num_steps: at the most; what follows is not kept.

    Raises:
        UsageError: if the folder is taken or cannot be written.
    """

    def __init__(self, folder: Path, env: AudioVisualEnv, num_steps: int) -> None:
        self.folder, self.meta, self.num_steps = folder, env.describe(), num_steps
        self.step = 0
        self._memory = open_memory(folder, env, num_steps, 1)
        self._newest: Observation | None = None

    def begin(self, observation: Observation) -> None:
        """Let an episode begin."""
        self._newest = observation
        if self.step < self.num_steps:
            self._memory.begin(observation)

    def __call__(
        self, action: Action, reward: float, terminated: bool, truncated: bool, following: Observation
    ) -> None:
        """Take in a step."""
        assert self._newest is not None
        if self.step < self.num_steps:
            self._memory.add(Transition(self._newest, action, reward, terminated, truncated, following))
            self.step += 1
        self._newest = following

    def save(self, **told: Any) -> None:
        """Write what was played; nothing is left of a recording without a step."""
        self._memory.meta = {**self.meta, **told, "steps": self.step}
        if self.step:
            self._memory.save(self.folder)
        del self._memory
        if self.step:
            trim(self.folder)
        else:
            shutil.rmtree(self.folder)


def report_faults(faults: Sequence[Fault], report: Report) -> None:
    """Say what went wrong in environments."""
    for fault in faults:
        report.say(f"fault      {fault}; it begins a new episode")


def record(config: RecordConfig, *, console: Console | None = None) -> dict[str, Any]:
    """Roll out ``config.num_steps`` into ``config.out``; return what the recording's header says of them.

    Raises:
        UsageError: if the folder is taken or cannot be written, or environment or agent do not serve.
        RunError: if the environment fails too often; what was recorded until then is kept.
    """
    with recorded_as(config.format, config.out) as folder:
        done = _record_into(folder, config, console)
    place = Path(config.out) if config.format == "spl" else f"{config.format}:{config.out}"
    return {"folder": place, **done}


def _record_into(folder: Path, config: RecordConfig, console: Console | None) -> dict[str, Any]:
    """Roll out ``config.num_steps`` into ``folder``, in our own format."""
    agent, envs, history, assumed = actor_of(config)
    begun = envs.start().begun  # before there is a folder: one that cannot be reset leaves none
    memory = open_memory(folder, envs, config.num_steps, history)
    progress = Progress()
    collector = Collector(
        agent,
        envs,
        memory,
        progress,
        epsilon_at=lambda step: config.epsilon,
        dropout=ModalityDropout(0.0, 1.0, generator_of(config.seed, "dropout")),
        keep_reward=float,
    )
    collector.begin(begun)
    title = f"spl record · {envs.config.id} · seed {config.seed}"
    report = Report(folder, title, config.num_steps, console=console, is_logged=False)
    save = partial(
        save_recording,
        collector,
        memory,
        folder,
        actor=config.agent or "random",
        seed=config.seed,
        num_steps=config.num_steps,
    )
    try:
        with contextlib.closing(envs), report, StopSignals() as stop:
            for sentence in describe_left_out(envs.streams):
                report.say(f"left out   {sentence}")
            for sentence in assumed:
                report.say(f"assumed    {sentence}")
            roll_out(
                collector,
                config.num_steps,
                report,
                stop,
                save=save,
                save_every_steps=SAVE_EVERY_STEPS,
            )
    finally:
        del memory, collector, save
        if progress.step and (folder / HEADER).is_file():  # else the disk refused to save any of it
            trim(folder)
    is_finished = progress.step >= config.num_steps
    counts = {"steps": progress.step, "episodes": progress.episode}
    return {**counts, "is_finished": is_finished}
