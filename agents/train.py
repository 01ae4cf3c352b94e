"""``spl train agent``: a run from its first step to its last, saved and resumed."""

import itertools
import math
import os
import shlex
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from rich.console import Console
from torch import Tensor

from spl import checkpoint
from spl.agents.exploration import ModalityDropout, linear_epsilon
from spl.agents.loop import Progress, collect, learn
from spl.agents.memory import ReplayMemory
from spl.agents.multimodal_dqn import MultimodalDqn
from spl.agents.run import TrainAgentConfig, build_agent, check_ram, create_run, generator_of, pick_device
from spl.config import UsageError
from spl.curriculum import CURRICULA
from spl.envs.adapter import AudioVisualEnv
from spl.envs.catalog import make_env
from spl.report import Report, brief


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


class Parts(NamedTuple):
    """What a run is made of; together with the memory's arrays, everything that a checkpoint holds."""

    agent: MultimodalDqn
    optimizer: torch.optim.Optimizer
    memory: ReplayMemory
    progress: Progress
    dropout: ModalityDropout
    generator: np.random.Generator  # owns the draws from the memory

    def state_dict(self) -> dict[str, Any]:
        """Return the state of every part."""
        return {
            "agent": self.agent.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "memory": self.memory.state_dict(),
            "progress": self.progress.state_dict(),
            "dropout": self.dropout.state_dict(),
            "generator": self.generator.bit_generator.state,
        }


class Meter:
    """Counts updates and adds up their losses on the device, between two rows of the report."""

    def __init__(self, progress: Progress) -> None:
        self.started = self.since = time.monotonic()
        self.first_step = self.row_step = progress.step
        self.num_updates = self.row_updates = 0
        self.loss_sum: Tensor | None = None

    def add(self, loss: Tensor) -> None:
        """Count one update with its loss."""
        self.loss_sum = loss if self.loss_sum is None else self.loss_sum + loss
        self.num_updates += 1

    def row(self, parts: Parts, epsilon: float) -> dict[str, float | int]:
        """Return the values since the last row and begin the next; tags are the field's usual ones."""
        seconds = max(time.monotonic() - self.since, 1e-9)
        updates = self.num_updates - self.row_updates
        values: dict[str, float | int] = {
            "rollout/exploration_rate": epsilon,
            "rollout/episodes": parts.progress.episode,
            "time/fps": (parts.progress.step - self.row_step) / seconds,
            "time/updates_per_second": updates / seconds,
            "train/n_updates": parts.agent.num_updates,
            "memory/transitions": len(parts.memory),
        }
        if parts.progress.recent:
            totals = np.array([one.total for one in parts.progress.recent])
            values["rollout/ep_rew_mean"] = float(totals.mean())
            values["rollout/ep_rew_std"] = float(totals.std())
            values["rollout/ep_len_mean"] = float(np.mean([one.length for one in parts.progress.recent]))
        if self.loss_sum is not None and updates:
            values["train/loss"] = self.loss_sum.item() / updates
        self.since, self.row_step, self.row_updates = time.monotonic(), parts.progress.step, self.num_updates
        self.loss_sum = None
        return values


def build_parts(config: TrainAgentConfig, env: AudioVisualEnv, memory: ReplayMemory) -> Parts:
    """Return the parts of a fresh run; every generator follows from the seed."""
    device = pick_device(config.device)
    agent = build_agent(config, env.spec_of_streams, env.num_actions, device)
    optimizer = torch.optim.Adam(
        agent.network.parameters(),
        lr=config.agent.learning_rate,
        eps=config.agent.adam_epsilon,
        fused=device.type in ("cpu", "cuda"),
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


def restore(config: TrainAgentConfig, env: AudioVisualEnv, folder: Path, slack: int) -> Parts:
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
        parts = build_parts(config, env, memory)
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


def train_agent(
    config: TrainAgentConfig,
    *,
    resume: Path | None = None,
    command: list[str] | None = None,
    console: Console | None = None,
) -> Result:
    """Train an agent as ``config`` says, in a new run folder or on from the one to ``resume``.

    Raises:
        UsageError: if the environment, the memory or the folder does not serve; nothing was started then.
    """
    torch.set_num_threads(config.num_threads or min(8, os.cpu_count() or 1))
    torch.set_flush_denormal(True)
    env = make_env(config.env)
    slack = config.checkpoint_every_steps * 9 // 8 + 64 if config.save_memory else 0
    check_ram(config, env.spec_of_streams, slack)
    try:
        if resume is None:
            folder = create_run(config, env, sys.argv if command is None else command)
            parts = build_parts(config, env, new_memory(config, env, folder, slack))
        else:
            folder, parts = resume, restore(config, env, resume, slack)
    except ValueError as error:
        raise UsageError(str(error)) from error
    title = f"spl train agent · {config.env.id} · seed {config.seed}"
    first_step = parts.progress.step
    with (
        Report(folder, title, config.num_steps, first_step=first_step, console=console) as report,
        StopSignals() as stop,
    ):
        num_parameters = sum(parameter.numel() for parameter in parts.agent.network.parameters())
        report.say(f"{folder}: {told_streams(env)}; {num_parameters:,} parameters on {parts.agent.device}")
        run_phases(config, parts, env, folder, report, stop)
        save(parts, folder, with_memory=config.save_memory)
        is_finished = parts.progress.step >= config.num_steps
        if is_finished:
            report.say(f"finished; evaluate with: spl evaluate agent {shlex.quote(str(folder))}")
        else:
            report.say(
                f"stopped and saved at step {parts.progress.step:,}; go on with: "
                f"spl train agent --resume {shlex.quote(str(folder))}"
            )
    env.close()
    recent = [one.total for one in parts.progress.recent]
    mean_return = float(np.mean(recent)) if recent else math.nan
    return Result(folder, parts.progress.step, is_finished, mean_return)


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


def status(config: TrainAgentConfig, parts: Parts, meter: Meter, epsilon: float) -> dict[str, Any]:
    """Return what the terminal shows."""
    seconds = max(time.monotonic() - meter.started, 1e-9)
    memory = parts.memory
    told: dict[str, Any] = {
        "steps/s": (parts.progress.step - meter.first_step) / seconds,
        "updates/s": meter.num_updates / seconds,
        "epsilon": epsilon,
        "memory": f"{len(memory):,} of {config.memory.capacity:,}, "
        f"{len(memory) * memory.bytes_per_transition / 2**20:,.0f} MiB",
    }
    if parts.progress.recent:
        totals = np.array([one.total for one in parts.progress.recent])
        told["return"] = f"{totals.mean():.4g} ± {totals.std():.2g} over {brief(len(totals))} episodes"
    updates = meter.num_updates - meter.row_updates
    if meter.loss_sum is not None and updates:
        told["loss"] = meter.loss_sum.item() / updates
    return told


def told_streams(env: AudioVisualEnv) -> str:
    """Return a sentence that says which streams were chosen."""
    spec, chosen = env.spec_of_streams, env.describe()
    words = []
    if spec.has_video:
        words.append(
            f"video {_key(chosen['video'])}{_shape(chosen['video']['from'])} -> {_shape(spec.video)}"
        )
    if spec.has_audio:
        audio = chosen["audio"]
        source = f"{_key(audio)}{_shape(audio['from'])} at {audio['sample_rate_hz']:,} Hz"
        words.append(f"audio {source} -> {_shape(spec.audio)}")
    return ", ".join(words)


def _key(chosen: dict[str, Any]) -> str:
    return "" if chosen["key"] is None else f"'{chosen['key']}' "


def _shape(shape: Any) -> str:
    sides = shape[0] if isinstance(shape[0], list) else shape
    return " x ".join(str(side) for side in sides)
