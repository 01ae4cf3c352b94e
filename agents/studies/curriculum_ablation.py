"""``spl ablate curriculum`` of the agent: replay under each curriculum, with the same steps."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch

from spl.ablation.comparison import Measure, Panel
from spl.ablation.curriculum_options import (
    APART,
    GROWS,
    RESTARTS,
    GridOptions,
    check_grid,
    check_runs,
    shares_of,
)
from spl.ablation.curriculum_task import Choice, needs
from spl.agents import config as run
from spl.agents.collectors.options import COLLECTORS
from spl.agents.collectors.progress import RECENT_EPISODES
from spl.agents.conditions import UNTOUCHED, Condition
from spl.agents.config import TrainAgentConfig
from spl.agents.curriculum_config import ReplayCurriculumConfig
from spl.agents.dqn_config import DqnConfig
from spl.agents.encoder_init import adopt_encoder
from spl.agents.evaluation.evaluate import EvaluateAgentConfig
from spl.agents.evaluation.playing import play, policy_of
from spl.agents.load import load_agent
from spl.agents.train import train_agent
from spl.config.errors import RunError
from spl.config.options import narrowed
from spl.config.ranges import Count
from spl.runs.directory import RunContext, generator_of

ALIASES = {name: run.ALIASES[name] for name in ("env", "pretrained", "encoder")}
MAY_CHANGE = (*(key for key in run.MAY_CHANGE if key != "num_steps"), *GROWS)
RETURN = Measure("return", "return", 2, "mean return of a run's episodes with all modalities")
PANEL = Panel("rollout/ep_rew_mean", "step", 1.0, "return while training, with exploration")


def return_in_training(rows: Sequence[dict[str, Any]]) -> float:
    """Return the mean return over the last episodes of a run's rows, exploration included.

    Raises:
        RunError: if no episode ended.
    """
    returns = [float(row["rollout/episode_return"]) for row in rows if "rollout/episode_return" in row]
    if not returns:
        raise RunError("no episode ended in training: choose more --num_steps, or fewer --restarts")
    return statistics.fmean(returns[-RECENT_EPISODES:])


@dataclass(frozen=True, kw_only=True)
class CurriculaConfig(GridOptions, TrainAgentConfig):
    """Everything that describes ``spl ablate curriculum --of agent``: a training, and what is varied."""

    unlisted: ClassVar[tuple[str, ...]] = (*GridOptions.unlisted, *COLLECTORS)

    of: Literal["agent"] = "agent"
    variants: tuple[Literal["uniform", "prioritized", "self-paced", "spl-to-per", "restarts"], ...] = (
        "uniform",
        "prioritized",
        "self-paced",
        "spl-to-per",
    )
    restarts: Count = 5  # initialisations of the variant restarts; they share the steps of one run
    num_episodes: Count = 100  # that judge a run at its end
    curriculum: ReplayCurriculumConfig = field(
        default_factory=lambda: ReplayCurriculumConfig(name="spl-to-per")
    )  # the options that all variants have in common

    def __post_init__(self) -> None:
        super().__post_init__()
        check_grid(self, "spl-to-per")
        if RESTARTS in self.variants:
            self._check_restarts()
        check_runs(self, partial(runs_of, self))

    def _check_restarts(self) -> None:
        if not 2 <= self.restarts <= self.num_steps:
            raise ValueError(
                f"restarts must be in 2..num_steps ({self.num_steps}), which they share, got {self.restarts}"
            )
        if min(shares_of(self.num_steps, self.restarts)) <= self.memory.min_size:
            raise ValueError(
                f"{self.restarts} restarts share num_steps ({self.num_steps}), and each learns from "
                f"memory.min_size ({self.memory.min_size}) transitions on: choose fewer restarts"
            )
        if self.pretrain_steps:
            raise ValueError(
                "each restart would pretrain an encoder of its own, which is more updates: leave restarts "
                f"out of --variants, or pretrain_steps, got {self.pretrain_steps}"
            )


def exploring(agent: DqnConfig, share: float) -> dict[str, Any]:
    """Return the exploration of ``agent``, over a share of its steps."""
    names = ("epsilon_warmup_steps", "epsilon_decay_steps")
    return {name: round(share * getattr(agent, name)) for name in names}


def runs_of(config: CurriculaConfig, variant: Any, seed: int) -> list[TrainAgentConfig]:
    """Return what describes the runs of a cell, as if each had been started alone.

    The restarts share the steps of one run, and each explores a share as long.
    """
    cell = partial(narrowed, TrainAgentConfig, config, restarts=1, ray=None)
    if variant != RESTARTS:
        return [cell(curriculum=config.curriculum.named(variant), seed=seed)]
    return [
        cell(
            curriculum=config.curriculum.named("uniform"),
            num_steps=num_steps,
            agent=replace(config.agent, **exploring(config.agent, num_steps / config.num_steps)),
            seed=seed + APART * number,
        )
        for number, num_steps in enumerate(shares_of(config.num_steps, config.restarts))
    ]


class Learner:
    """An agent under each curriculum."""

    of = "agent"
    measures: Sequence[Measure] = (RETURN,)
    panels = (PANEL,)
    choice = Choice(
        max,
        return_in_training,
        f"the highest mean return over the last {RECENT_EPISODES} episodes of its training",
    )

    documents: ClassVar[dict[str, Any]] = {}  # its data it makes itself

    def __init__(self, config: CurriculaConfig, run: Path | None = None) -> None:
        self.config = config
        self.data: dict[str, Any] = {"env": config.env.id}
        self.notes = [
            f"Environment: {config.env.id}, {config.num_steps:,} steps.",
            f"Return: mean of {config.num_episodes} episodes after the last step with all modalities, "
            "without exploration; the same episodes for all runs.",
        ]
        if RESTARTS in config.variants:
            self.notes.append("Each restart explores over its share of the steps, as one run does over all.")

    @property
    def name(self) -> str:
        """What it is, for the folder of a grid."""
        return self.config.env.id.split("/")[-1]

    def runs(self, variant: Any, seed: int) -> list[TrainAgentConfig]:
        """Return what describes the runs of a cell."""
        return runs_of(self.config, variant, seed)

    def train(self, context: RunContext, config: Any, seed: int) -> bool:
        """Train a run."""
        folder, command, console, resume_with = context
        config = adopt_encoder(config)  # resumed, a run is taken to have it
        return train_agent(
            config, resume=folder, command=command, console=console, go_on_with=resume_with
        ).is_finished

    def judge(self, folder: Path, rows: Sequence[dict[str, Any]]) -> dict[str, float]:
        """Return the mean return."""
        returns = returns_of(folder, self.config.num_episodes, self.config.device)
        return needs({"return": statistics.fmean(returns)}, folder)


def returns_of(folder: Path, num_episodes: int, device: str) -> list[float]:
    """Return what the newest agent of a run gets with all modalities: see `returns_under`."""
    (returns,) = returns_under(folder, num_episodes, device, {"all modalities": UNTOUCHED}).values()
    return returns


def returns_under(
    folder: Path, num_episodes: int, device: str, conditions: Mapping[str, Condition]
) -> dict[str, list[float]]:
    """Return what the newest agent of a run gets, in the first set of episodes of ``spl evaluate agent``.

    Args:
        folder: of the run.
        num_episodes: of each condition.
        device: where the agent plays.
        conditions: by the name that an evaluation gives each.

    Raises:
        UsageError: as `load_agent`.
    """
    seed, found = EvaluateAgentConfig().seed, {}
    agent, make, history, _ = load_agent(folder, device)
    policy, envs = policy_of(agent, 0.0), [make() for _ in range(num_episodes)]
    try:
        for name, condition in conditions.items():
            agent.generator = generator_of(seed, name)
            with torch.inference_mode():
                found[name], _ = play(policy, envs, condition, history=history, seed=seed)
    finally:
        for env in envs:
            env.close()
    return found
