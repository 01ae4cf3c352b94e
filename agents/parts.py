"""What a run is made of, and what it tells of itself while it goes on."""

import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from spl import checkpoint
from spl.agents.curriculum import ReplayCurriculum
from spl.agents.loop import Collected, Collector, NonFiniteBatch, Progress
from spl.agents.memory import ReplayMemory
from spl.agents.multimodal_dqn import MultimodalDqn
from spl.agents.run import TrainAgentConfig
from spl.config import RunError
from spl.descent import restore
from spl.envs.fleet import Fault
from spl.records import StreamSpec
from spl.report import Report, brief
from spl.signals import StopSignals
from spl.threads import Threads

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


class Watch:
    """What happens beside learning when it is due: rows, the panel, checkpoints; and the wish to stop."""

    def __init__(
        self,
        config: TrainAgentConfig,
        parts: Parts,
        folder: Path,
        report: Report,
        stop: StopSignals,
        threads: Threads,
    ) -> None:
        self.config = config
        self.parts = parts
        self.folder = folder
        self.report = report
        self.stop = stop
        self.threads = threads
        self.num_faults = 0
        self.saved_step = parts.progress.step
        self._saved_written, self._saved_at = parts.memory.written, time.monotonic()

    def after_step(self, collected: Collected) -> None:
        """Do what is due after a step of all environments.

        Raises:
            RunError: if environments failed too often.
        """
        step = self.parts.progress.step
        for total, length in collected.episodes:
            self.report.row(step, {"rollout/episode_return": total, "rollout/episode_length": length})
        every = self.config.report_every_steps
        if step // every > (step - len(collected.transitions)) // every:
            self.report.row(step, {**self._progress_row(), **self.parts.meter.row(step)})
        self.tell_news()
        for fault in collected.faults:
            self.tell(fault)
        if collected.faults:
            self.num_faults += len(collected.faults)
            self._save()
            if self.num_faults > self.config.max_faults:
                raise RunError(
                    f"{self.config.env.id} failed {self.num_faults} times (--max_faults "
                    f"{self.config.max_faults}), the last time in {collected.faults[-1]}; "
                    "'spl check env' examines it"
                )
        self._do_what_is_due()

    def tell_news(self) -> None:
        """Say which streams went beyond their range, once for each."""
        for sentence in self.parts.collector.fleet.take_news():
            self.report.say(f"range      {sentence}")

    def tell(self, fault: Fault) -> None:
        """Say what went wrong in an environment, on the terminal and in ``metrics.jsonl``."""
        self.report.say(f"fault      {fault}; it begins a new episode")
        self.report.row(self.parts.progress.step, {"fault": str(fault)})

    def after_update(self, loss: Tensor) -> None:
        """Count an update and do what is due."""
        self.parts.meter.add(loss)
        self._do_what_is_due()

    def set_aside(self, error: NonFiniteBatch) -> Path:
        """Write the batch of an update that was not taken; return the file."""
        path = self.folder / f"batch-{self.parts.agent.num_updates}.safetensors"
        batch = {name: field.contiguous() for name, field in error.batch._asdict().items()}
        save_file({**batch, "losses": error.losses.contiguous()}, path)
        return path

    def finish(self) -> None:
        """Save and show where the run stands."""
        self._save()
        self.report.show(self.parts.progress.step, self.status())

    def _save_if_due(self) -> None:
        memory = self.parts.memory
        slack = memory.slots - memory.usable
        newer = max(now - then for now, then in zip(memory.written, self._saved_written, strict=True))
        if (
            self.parts.progress.step - self.saved_step >= self.config.checkpoint_every_steps
            or time.monotonic() - self._saved_at >= 60.0 * self.config.checkpoint_every_minutes
            or (slack > 0 and newer >= slack - 2)  # the next ones would overwrite what the last save needs
        ):
            self._save()

    def _save(self) -> None:
        started = time.monotonic()
        with self.stop.patience():
            save(self.parts, self.folder, with_memory=self.config.save_memory)
        self.saved_step, self._saved_written = self.parts.progress.step, self.parts.memory.written
        self._saved_at = time.monotonic()
        self.parts.meter.saving_s += self._saved_at - started

    def _do_what_is_due(self) -> None:
        self._save_if_due()
        if (change := self.threads.look()) is not None:
            self.report.say(f"threads    {change}")
        if self.report.is_due():
            self.report.show(self.parts.progress.step, self.status())

    def _progress_row(self) -> dict[str, float | int]:
        progress = self.parts.progress
        values: dict[str, float | int] = {
            "rollout/exploration_rate": self.parts.collector.epsilon_at(progress.step),
            "rollout/episodes": progress.episode,
            "time/threads": self.threads.count,
            "train/n_updates": self.parts.agent.num_updates,
            "memory/transitions": len(self.parts.memory),
            **self.parts.curriculum.told,
        }
        if progress.recent:
            values["rollout/ep_rew_mean"] = float(progress.returns.mean())
            values["rollout/ep_rew_std"] = float(progress.returns.std())
            values["rollout/ep_len_mean"] = float(np.mean([one.length for one in progress.recent]))
        return values

    def status(self) -> dict[str, Any]:
        """Return what the terminal shows."""
        memory, meter, progress = self.parts.memory, self.parts.meter, self.parts.progress
        seconds = max(time.monotonic() - meter.started, 1e-9)
        told: dict[str, Any] = {
            "steps/s": (progress.step - meter.first_step) / seconds,
            "updates/s": meter.num_updates / seconds,
            "epsilon": self.parts.collector.epsilon_at(progress.step),
            "memory": f"{len(memory):,} of {self.config.memory.capacity:,}, "
            f"{len(memory) * memory.bytes_per_transition / 2**20:,.0f} MiB",
        }
        if progress.recent:
            totals = progress.returns
            told["return"] = f"{totals.mean():.4g} ± {totals.std():.2g} over {brief(len(totals))} episodes"
        if meter.loss_sum is not None:
            told["loss"] = meter.loss_sum.item() / meter.row_updates
        if self.num_faults:
            told["faults"] = self.num_faults
        return told


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
