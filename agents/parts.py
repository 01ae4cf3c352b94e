"""What a run is made of, and what it tells of itself while it goes on."""

import time
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from spl.agents.exploration import ModalityDropout
from spl.agents.loop import Progress
from spl.agents.memory import ReplayMemory
from spl.agents.multimodal_dqn import MultimodalDqn
from spl.agents.run import TrainAgentConfig
from spl.envs.adapter import AudioVisualEnv
from spl.report import brief


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
