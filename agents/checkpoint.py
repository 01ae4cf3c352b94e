"""The components of an agent's run, and how they are saved and restored."""

from pathlib import Path
from typing import Any, NamedTuple

import torch

from spl.agents.collectors.intake import Collectors
from spl.agents.collectors.progress import Progress
from spl.agents.curriculum import ReplayCurriculum
from spl.agents.dqn import MultimodalDqn
from spl.agents.loop import Collector
from spl.agents.replay.memory import ReplayMemory
from spl.agents.throughput import Meter
from spl.envs.vector import Fault
from spl.models.encoder import CODE
from spl.runs import checkpoint
from spl.training.step import restore


class Parts(NamedTuple):
    """What a run is made of; together with the memory's arrays, everything that a checkpoint holds."""

    agent: MultimodalDqn
    optimizer: torch.optim.Optimizer
    memory: ReplayMemory
    progress: Progress
    collector: Collector | Collectors
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
        """Go on from :meth:`state_dict`; return the environments that had to begin an episode again."""
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


def folder_of(run: Path, which: str) -> Path:
    """Return the folder of a run's ``last`` checkpoints, or that of its ``best``."""
    return run / "checkpoints" if which == "last" else run / "checkpoints" / which


def as_saved_now(state: dict[str, Any], agent: MultimodalDqn) -> dict[str, Any]:
    """Return a checkpoint's state as it would be saved now, of a run made by any earlier version."""
    return _with_average(_without_unread_code(state, agent), agent)


def _with_average(state: dict[str, Any], agent: MultimodalDqn) -> dict[str, Any]:
    """Return the state with averaged weights: the newest, of a run made before weights were averaged."""
    saved = state.get("agent", {})
    if agent.averaged is None or "averaged" in saved or "network" not in saved:
        return state
    return {**state, "agent": {**saved, "averaged": saved["network"]}}


def _without_unread_code(state: dict[str, Any], agent: MultimodalDqn) -> dict[str, Any]:
    """Return the state without the joint code's layer, of a run made while every network had one.

    Where no head reads the joint code (`Heads.reads_code`), its layer stood unused behind the encoder's other
    weights. It got no gradient: the optimizer has no moments of it, and nothing that was learned is left out.
    """
    saved = state.get("agent", {})
    if agent.network.encoder.fuse is not None or f"encoder.{CODE[0]}" not in saved.get("network", {}):
        return state
    gone = {f"encoder.{name}" for name in CODE}
    networks = {
        name: {key: weight for key, weight in saved[name].items() if key not in gone}
        for name in ("network", "target")
    }
    state = {**state, "agent": {**saved, **networks}}
    first = sum(weight.requires_grad for weight in agent.network.encoder.parameters())
    if first:  # a frozen encoder is none of the optimizer's
        state["optimizer"] = _without(state["optimizer"], range(first, first + len(CODE)))
    return state


def _without(optimizer: dict[str, Any], gone: range) -> dict[str, Any]:
    """Return an optimizer's state without the weights at places ``gone``, the others numbered again."""
    groups = optimizer["param_groups"]
    kept = [place for group in groups for place in group["params"] if place not in gone]
    now = {place: number for number, place in enumerate(kept)}
    return {
        "state": {now[place]: moments for place, moments in optimizer["state"].items()},
        "param_groups": [
            {**group, "params": [now[place] for place in group["params"] if place in now]} for group in groups
        ],
    }
