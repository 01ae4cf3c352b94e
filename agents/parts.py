"""What a run is made of, all of which a checkpoint holds; and what it says of its streams."""

import time
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from spl.agents.curriculum import ReplayCurriculum
from spl.agents.dqn import MultimodalDqn
from spl.agents.loop import Collector, Progress
from spl.agents.replay.memory import ReplayMemory
from spl.envs.vector import Fault
from spl.records import StreamSpec
from spl.runs import checkpoint
from spl.training.step import restore

USUAL_RANGES = ((0.0, 255.0), (0.0, 1.0), (-1.0, 1.0), (-32_768.0, 32_767.0))  # not worth a word


class Meter:
    """Counts updates and adds up their losses on the device, between two rows of the report."""

    def __init__(self, first_step: int = 0) -> None:
        self.started = self.since = time.monotonic()
        self.first_step = self.row_step = first_step  # of this stretch, of this row
        self.num_updates = 0  # of this stretch
        self.row_updates = 0  # since the last row, which may lie in an earlier stretch
        self.stretch_updates = 0  # of them, those of this stretch
        self.saving_s = 0.0  # since the last row
        self.loss_sum: Tensor | None = None

    def add(self, loss: Tensor) -> None:
        """Count one update with its loss."""
        self.loss_sum = loss if self.loss_sum is None else self.loss_sum + loss
        self.num_updates += 1
        self.row_updates += 1
        self.stretch_updates += 1

    def row(self, step: int) -> dict[str, float | int]:
        """Return speed and mean loss since the last row, and begin the next; the tags are usual ones."""
        seconds = max(time.monotonic() - self.since, 1e-9)
        values: dict[str, float | int] = {
            "time/fps": (step - self.row_step) / seconds,
            "time/updates_per_second": self.stretch_updates / seconds,
            "time/share_saving": self.saving_s / seconds,
        }
        if self.loss_sum is not None:
            values["train/loss"] = self.loss_sum.item() / self.row_updates
        self.since, self.row_step, self.loss_sum = time.monotonic(), step, None
        self.row_updates, self.stretch_updates, self.saving_s = 0, 0, 0.0
        return values

    def state_dict(self) -> dict[str, Any]:
        """Return what the next row needs of the updates so far."""
        return {"row_updates": self.row_updates, "loss_sum": self.loss_sum}

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        """Go on from :meth:`state_dict`."""
        self.row_updates = int(state["row_updates"])
        self.loss_sum = None if state["loss_sum"] is None else state["loss_sum"].to(device)


class Parts(NamedTuple):
    """What a run is made of; together with the memory's arrays, everything that a checkpoint holds."""

    agent: MultimodalDqn
    optimizer: torch.optim.Optimizer
    memory: ReplayMemory
    progress: Progress
    collector: Collector
    curriculum: ReplayCurriculum  # draws from the memory
    meter: Meter

    def state_dict(self) -> dict[str, Any]:
        """Return the state of every part."""
        return {
            "agent": self.agent.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "memory": self.memory.state_dict(),
            "progress": self.progress.state_dict(),
            "collector": self.collector.state_dict(),
            "generator": self.curriculum.generator.bit_generator.state,
            "curriculum": self.curriculum.state_dict(),
            "meter": self.meter.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> list[Fault]:
        """Go on from :meth:`state_dict`; return the environments that had to begin an episode anew."""
        self.agent.load_state_dict(state["agent"])
        restore(self.optimizer, state["optimizer"])
        self.progress.load_state_dict(state["progress"])
        if not len(self.memory):  # it was not saved, so nothing that was drawn from it can be learned
            self.progress.replays_due = 0
            self.progress.forget_drawn()
        self.curriculum.generator.bit_generator.state = state["generator"]
        self.curriculum.load_state_dict(state["curriculum"])
        self.meter.load_state_dict(state["meter"], self.agent.device)
        self.meter.first_step = self.meter.row_step = self.progress.step
        return self.collector.load_state_dict(state["collector"])


def save(parts: Parts, folder: Path, *, with_memory: bool) -> None:
    """Write a checkpoint: the memory's new observations first, then all else."""
    if with_memory or parts.memory.folder is not None:
        parts.memory.save(folder / "memory")
    checkpoint.save(folder / "checkpoints", parts.state_dict(), step=parts.progress.step)


def told_streams(spec: StreamSpec, chosen: dict[str, Any]) -> str:
    """Return a sentence that says which streams were ``chosen`` (as an environment describes itself)."""
    words = []
    if spec.has_video:
        words.append(
            f"video {_key(chosen['video'])}{_shape(chosen['video']['from'])}{_made(chosen['video'])} -> "
            f"{_shape(spec.video)}"
        )
    if spec.has_audio:
        audio = chosen["audio"]
        source = f"{_key(audio)}{_shape(audio['from'])} at {audio['sample_rate_hz']:,} Hz{_made(audio)}"
        warning = f" ({audio['warning']})" if "warning" in audio else ""
        words.append(f"audio {source} -> {_shape(spec.audio)}{warning}")
    return ", ".join(words)


def told_left_out(chosen: dict[str, Any]) -> list[str]:
    """Return a sentence for each entry of the observation that the agent does not get."""
    fault = ", which 'spl check env' calls a fault"
    return [
        f"{one['key']!r}, {one['what']}: {one['why']}{fault if one['is_fault'] else ''}"
        for one in chosen.get("left_out", ())
    ]


def _made(chosen: dict[str, Any]) -> str:
    """Return what is taken of a stream that is more than one picture or chunk, and its range if unusual."""
    words = [chosen["taken"]] if chosen["taken"] else []
    low, high = chosen["range"]
    if (low, high) not in USUAL_RANGES:
        words.append(f"{low:,.5g} to {high:,.5g}")
    return f" ({', '.join(words)})" if words else ""


def _key(chosen: dict[str, Any]) -> str:
    return "" if chosen["key"] is None else f"'{chosen['key']}' "


def _shape(shape: Any) -> str:
    sides = shape[0] if isinstance(shape[0], list) else shape
    return " x ".join(str(side) for side in sides)
