"""``spl train agent``: a run from its first step to its last, saved and resumed."""

import itertools
import math
import shlex
import signal
import sys
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from rich.console import Console

from spl import checkpoint
from spl.agents.exploration import ModalityDropout, linear_epsilon
from spl.agents.loop import Progress, collect, learn
from spl.agents.memory import ReplayMemory
from spl.agents.multimodal_dqn import MultimodalDqn
from spl.agents.parts import Meter, Parts, status, told_streams
from spl.agents.run import (
    TrainAgentConfig,
    build_agent,
    check_ram,
    create_run,
    free_cores,
    generator_of,
    pick_device,
)
from spl.config import UsageError
from spl.curriculum import CURRICULA
from spl.envs.adapter import AudioVisualEnv
from spl.envs.catalog import make_env
from spl.report import Report


class StopSignals:
    """Turns Ctrl-C and SIGTERM into a flag that is looked at between steps; a second Ctrl-C interrupts."""

    def __init__(self) -> None:
        self._received: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                self._before[number] = signal.signal(number, self._receive)
            except ValueError:  # not in the main thread: the caller keeps its own handling
                break
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self._received is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._received = number

    def has_come(self) -> bool:
        """Whether the run has been told to stop."""
        return self._received is not None


class Result(NamedTuple):
    """How a run ended."""

    folder: Path
    step: int
    is_finished: bool  # False: it was told to stop, and can be resumed
    mean_return: float  # over the last episodes; NaN where none ended


def assemble(config: TrainAgentConfig, agent: MultimodalDqn, memory: ReplayMemory) -> Parts:
    """Return the parts of a fresh run; every generator follows from the seed."""
    optimizer = torch.optim.Adam(
        agent.network.parameters(),
        lr=config.agent.learning_rate,
        eps=config.agent.adam_epsilon,
        fused=agent.device.type in ("cpu", "cuda"),
    )
    dropout = ModalityDropout(
        config.agent.modality_dropout,
        config.agent.modality_dropout_steps,
        generator_of(config.seed, "dropout"),
    )
    return Parts(agent, optimizer, memory, Progress(), dropout, generator_of(config.seed, "replay"))


def new_memory(config: TrainAgentConfig, env: AudioVisualEnv, folder: Path, slack: int) -> ReplayMemory:
    """Return an empty memory, in RAM or in the run's folder."""
    memory = ReplayMemory(
        env.spec_of_streams,
        config.memory.capacity,
        history=config.memory.history,
        n_step=config.agent.n_step,
        gamma=config.agent.gamma,
        folder=folder / "memory" if config.memory.on_disk else None,
        slack=slack,
    )
    memory.meta = env.describe()
    return memory


def restore(
    config: TrainAgentConfig, env: AudioVisualEnv, agent: MultimodalDqn, folder: Path, slack: int
) -> Parts:
    """Return the parts as the last checkpoint of ``folder`` left them.

    Raises:
        UsageError: if there is none, or it or the memory cannot be read.
    """
    try:
        state = checkpoint.load(folder / "checkpoints")
        if (folder / "memory").is_dir():
            memory = ReplayMemory.load(
                folder / "memory",
                history=config.memory.history,
                n_step=config.agent.n_step,
                gamma=config.agent.gamma,
                capacity=config.memory.capacity,
                mmap=config.memory.on_disk,
                writable=config.memory.on_disk,
            )
            memory.load_state_dict(state["memory"])
        else:
            memory = new_memory(config, env, folder, slack)
        parts = assemble(config, agent, memory)
        parts.agent.load_state_dict(state["agent"])
        parts.optimizer.load_state_dict(state["optimizer"])
        parts.progress.load_state_dict(state["progress"])
        parts.dropout.load_state_dict(state["dropout"])
        parts.generator.bit_generator.state = state["generator"]
    except (ValueError, KeyError, RuntimeError) as error:
        raise UsageError(f"the run in {folder} cannot be resumed: {error}") from error
    return parts


def save(parts: Parts, folder: Path, *, with_memory: bool) -> None:
    """Write a checkpoint: the memory's new observations first, then all else."""
    if with_memory or parts.memory.folder is not None:
        parts.memory.save(folder / "memory")
    checkpoint.save(folder / "checkpoints", parts.state_dict(), step=parts.progress.step)


def prepare(
    config: TrainAgentConfig, env: AudioVisualEnv, resume: Path | None, command: list[str]
) -> tuple[Path, Parts]:
    """Return the run's folder and its parts, fresh or as the run to ``resume`` left them.

    Raises:
        UsageError: if memory, device, network or folder do not serve; no folder is left behind then.
    """
    slack = config.checkpoint_every_steps * 9 // 8 + 64 if config.save_memory else 0
    check_ram(config, env.spec_of_streams, slack)
    try:
        device = pick_device(config.device)
        agent = build_agent(config, env.spec_of_streams, env.num_actions, device)
        if resume is not None:
            return resume, restore(config, env, agent, resume, slack)
        folder = create_run(config, env, command)
        return folder, assemble(config, agent, new_memory(config, env, folder, slack))
    except ValueError as error:
        raise UsageError(str(error)) from error


def train_agent(
    config: TrainAgentConfig,
    *,
    resume: Path | None = None,
    command: list[str] | None = None,
    console: Console | None = None,
) -> Result:
    """Train an agent as ``config`` says, in a new run folder or on from the one to ``resume``.

    Whatever ends the run early, a signal or an error of the environment, it is saved first.

    Raises:
        UsageError: if the environment, the memory or the folder does not serve; nothing was started then.
    """
    if config.num_threads is None:  # written into the run's config.yaml: sums depend on it in the last bit
        config = replace(config, num_threads=free_cores())
    torch.set_num_threads(config.num_threads or 1)
    torch.set_flush_denormal(True)
    env = make_env(config.env)
    folder, parts = prepare(config, env, resume, sys.argv if command is None else command)
    title = f"spl train agent · {config.env.id} · seed {config.seed}"
    first_step = parts.progress.step
    with (
        Report(folder, title, config.num_steps, first_step=first_step, console=console) as report,
        StopSignals() as stop,
    ):
        num_parameters = sum(parameter.numel() for parameter in parts.agent.network.parameters())
        place = f"{parts.agent.device}, {config.num_threads} threads"
        report.say(f"{folder}: {told_streams(env)}; {num_parameters:,} parameters on {place}")
        if not parts.memory.written[0] and first_step:
            report.say(
                f"the memory was not saved: {config.memory.min_size:,} steps are collected before learning"
            )
        try:
            run_phases(config, parts, env, folder, report, stop)
        finally:
            save(parts, folder, with_memory=config.save_memory)
            report.say(closing_words(config, parts, folder))
    env.close()
    recent = [one.total for one in parts.progress.recent]
    mean_return = float(np.mean(recent)) if recent else math.nan
    return Result(folder, parts.progress.step, parts.progress.step >= config.num_steps, mean_return)


def closing_words(config: TrainAgentConfig, parts: Parts, folder: Path) -> str:
    """Return what to do next: evaluate a run that came to its end, go on with another."""
    step, path = parts.progress.step, shlex.quote(str(folder))
    if step >= config.num_steps:
        return f"finished; evaluate with: spl evaluate agent {path}"
    return f"stopped and saved at step {step:,}; go on with: spl train agent --resume {path}"


def run_phases(
    config: TrainAgentConfig,
    parts: Parts,
    env: AudioVisualEnv,
    folder: Path,
    report: Report,
    stop: StopSignals,
) -> None:
    """Alternate collecting and learning until the last step or a signal; report and save when due."""
    progress, memory, meter = parts.progress, parts.memory, Meter(parts.progress)
    saved_at, saved_written = progress.step, memory.written[0]
    slack = memory.slots - memory.usable

    def epsilon_at(step: int) -> float:
        return linear_epsilon(
            step,
            start=config.agent.epsilon_start,
            end=config.agent.epsilon_end,
            warmup_steps=config.agent.epsilon_warmup_steps,
            decay_steps=config.agent.epsilon_decay_steps,
        )

    transitions = collect(
        parts.agent,
        env,
        memory,
        progress,
        epsilon_at=epsilon_at,
        dropout=parts.dropout,
        reward_clip=config.agent.reward_clip,
        seed=config.seed,
    )
    while progress.step < config.num_steps and not stop.has_come():
        for _ in itertools.islice(
            transitions, min(config.loop.collect_steps, config.num_steps - progress.step)
        ):
            if progress.step % config.report_every_steps == 0:
                report.row(progress.step, meter.row(parts, epsilon_at(progress.step)))
            is_full = slack > 0 and memory.written[0] - saved_written >= slack - 2
            if progress.step - saved_at >= config.checkpoint_every_steps or is_full:
                save(parts, folder, with_memory=config.save_memory)
                saved_at, saved_written = progress.step, memory.written[0]
            if report.is_due():
                report.show(progress.step, status(config, parts, meter, epsilon_at(progress.step)))
            if stop.has_come():
                return
        if len(memory) < config.memory.min_size:
            continue
        for loss in learn(
            parts.agent,
            memory,
            parts.optimizer,
            config.loop,
            curriculum=CURRICULA[config.curriculum],
            generator=parts.generator,
            max_grad_norm=config.agent.max_grad_norm,
        ):
            meter.add(loss)
            if report.is_due():
                report.show(progress.step, status(config, parts, meter, epsilon_at(progress.step)))
            if stop.has_come():
                return
