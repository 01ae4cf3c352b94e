"""What a run is made of, and what it tells of itself while it goes on."""

import signal
import time
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from spl import checkpoint
from spl.agents.exploration import ModalityDropout, linear_epsilon
from spl.agents.loop import Progress
from spl.agents.memory import ReplayMemory
from spl.agents.multimodal_dqn import MultimodalDqn
from spl.agents.run import TrainAgentConfig
from spl.envs.adapter import AudioVisualEnv
from spl.report import Report, brief


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
            values["rollout/ep_rew_mean"] = float(parts.progress.returns.mean())
            values["rollout/ep_rew_std"] = float(parts.progress.returns.std())
            values["rollout/ep_len_mean"] = float(np.mean([one.length for one in parts.progress.recent]))
        if self.loss_sum is not None and updates:
            values["train/loss"] = self.loss_sum.item() / updates
        self.since, self.row_step, self.row_updates = time.monotonic(), parts.progress.step, self.num_updates
        self.loss_sum = None
        return values


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


def save(parts: Parts, folder: Path, *, with_memory: bool) -> None:
    """Write a checkpoint: the memory's new observations first, then all else."""
    if with_memory or parts.memory.folder is not None:
        parts.memory.save(folder / "memory")
    checkpoint.save(folder / "checkpoints", parts.state_dict(), step=parts.progress.step)


class Watch:
    """What happens beside learning when it is due: rows, the panel, checkpoints; and the wish to stop."""

    def __init__(
        self, config: TrainAgentConfig, parts: Parts, folder: Path, report: Report, stop: StopSignals
    ) -> None:
        self.config = config
        self.parts = parts
        self.folder = folder
        self.report = report
        self.stop = stop
        self.meter = Meter(parts.progress)
        self.saved_step, self._saved_written = parts.progress.step, parts.memory.written[0]
        self._told_episode = parts.progress.episode

    def epsilon_at(self, step: int) -> float:
        """Return the chance of a random action at ``step``."""
        agent = self.config.agent
        return linear_epsilon(
            step,
            start=agent.epsilon_start,
            end=agent.epsilon_end,
            warmup_steps=agent.epsilon_warmup_steps,
            decay_steps=agent.epsilon_decay_steps,
        )

    def after_step(self) -> None:
        """Do what is due after a step of the environment."""
        progress, memory = self.parts.progress, self.parts.memory
        step = progress.step
        if progress.episode != self._told_episode:
            total, length = progress.recent[-1]
            self.report.row(step, {"rollout/episode_return": total, "rollout/episode_length": length})
            self._told_episode = progress.episode
        if step % self.config.report_every_steps == 0:
            self.report.row(step, self.meter.row(self.parts, self.epsilon_at(step)))
        slack = memory.slots - memory.usable
        is_slack_spent = slack > 0 and memory.written[0] - self._saved_written >= slack - 2
        if step - self.saved_step >= self.config.checkpoint_every_steps or is_slack_spent:
            self._save()
        self._show()

    def after_update(self, loss: Tensor) -> None:
        """Count an update and show it when that is due."""
        self.meter.add(loss)
        self._show()

    def finish(self) -> None:
        """Save and show where the run stands."""
        self._save()
        self.report.show(self.parts.progress.step, self.status())

    def _save(self) -> None:
        save(self.parts, self.folder, with_memory=self.config.save_memory)
        self.saved_step, self._saved_written = self.parts.progress.step, self.parts.memory.written[0]

    def _show(self) -> None:
        if self.report.is_due():
            self.report.show(self.parts.progress.step, self.status())

    def status(self) -> dict[str, Any]:
        """Return what the terminal shows."""
        memory, meter, progress = self.parts.memory, self.meter, self.parts.progress
        seconds = max(time.monotonic() - meter.started, 1e-9)
        told: dict[str, Any] = {
            "steps/s": (progress.step - meter.first_step) / seconds,
            "updates/s": meter.num_updates / seconds,
            "epsilon": self.epsilon_at(progress.step),
            "memory": f"{len(memory):,} of {self.config.memory.capacity:,}, "
            f"{len(memory) * memory.bytes_per_transition / 2**20:,.0f} MiB",
        }
        if progress.recent:
            totals = progress.returns
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
        warning = f" ({audio['warning']})" if "warning" in audio else ""
        words.append(f"audio {source} -> {_shape(spec.audio)}{warning}")
    return ", ".join(words)


def _key(chosen: dict[str, Any]) -> str:
    return "" if chosen["key"] is None else f"'{chosen['key']}' "


def _shape(shape: Any) -> str:
    sides = shape[0] if isinstance(shape[0], list) else shape
    return " x ".join(str(side) for side in sides)
