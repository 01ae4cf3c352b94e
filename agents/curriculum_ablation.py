"""``spl ablate curriculum`` of the agent: replay under each curriculum, with the same steps."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch

from spl.ablation.comparison import Measure, Panel
from spl.ablation.curriculum_options import GROWS, GridOptions, check_grid
from spl.ablation.curriculum_task import needs
from spl.agents import config as run
from spl.agents.conditions import UNTOUCHED
from spl.agents.config import TrainAgentConfig
from spl.agents.curriculum_config import ReplayCurriculumConfig
from spl.agents.encoder_init import adopt_encoder
from spl.agents.evaluate import EvaluateAgentConfig, load_agent
from spl.agents.playing import play, policy_of
from spl.agents.train import train_agent
from spl.config.ranges import Count
from spl.runs.directory import RunContext, generator_of

ALIASES = {name: run.ALIASES[name] for name in ("env", "pretrained", "encoder")}
MAY_CHANGE = (*(key for key in run.MAY_CHANGE if key != "num_steps"), *GROWS)
RETURN = Measure("return", "return", 2, "mean return of a run's episodes with all modalities")
PANEL = Panel("rollout/ep_rew_mean", "step", 1.0, "return while training, with exploration")


@dataclass(frozen=True, kw_only=True)
class CurriculaConfig(GridOptions, TrainAgentConfig):
    """Everything that describes ``spl ablate curriculum --of agent``: a training, and what is varied."""

    of: Literal["agent"] = "agent"
    variants: tuple[Literal["uniform", "prioritized", "self-paced", "spl-to-per"], ...] = (
        "uniform",
        "prioritized",
        "self-paced",
        "spl-to-per",
    )
    num_episodes: Count = 100  # that judge a run at its end
    curriculum: ReplayCurriculumConfig = field(
        default_factory=lambda: ReplayCurriculumConfig(name="spl-to-per")
    )  # the options that all variants have in common

    def __post_init__(self) -> None:
        super().__post_init__()
        check_grid(self, "spl-to-per")


class Learner:
    """An agent under each curriculum."""

    of = "agent"
    measures, panels = (RETURN,), (PANEL,)

    documents: ClassVar[dict[str, Any]] = {}  # its data it makes itself

    def __init__(self, config: CurriculaConfig) -> None:
        self.config = config
        self.data = {"env": config.env.id}
        self.notes = [
            f"Environment: {config.env.id}, {config.num_steps:,} steps.",
            f"Return: mean of {config.num_episodes} episodes after the last step with all modalities, "
            "without exploration; the same episodes for all runs.",
        ]

    @property
    def name(self) -> str:
        """What it is, for the folder of a grid."""
        return self.config.env.id.split("/")[-1]

    def runs(self, variant: Any, seed: int) -> list[TrainAgentConfig]:
        """Return what describes the run of a cell."""
        values = {one.name: getattr(self.config, one.name) for one in fields(TrainAgentConfig)}
        values |= {"curriculum": self.config.curriculum.named(variant), "seed": seed}
        return [TrainAgentConfig(**values)]

    def train(self, context: RunContext, config: Any, seed: int) -> bool:
        """Train a run."""
        folder, command, console, resume_with = context
        config = adopt_encoder(config)  # resumed, a run is taken to have it
        return train_agent(
            config, resume=folder, command=command, console=console, go_on_with=resume_with
        ).is_finished

    def judge(self, folder: Path, rows: Sequence[dict[str, Any]]) -> dict[str, float]:
        """Return the mean return."""
        return needs({"return": mean_return(folder, self.config.num_episodes, self.config.device)}, folder)


def mean_return(folder: Path, num_episodes: int, device: str) -> float:
    """Return what the newest agent of a run gets on average, in the first set of ``spl evaluate agent``.

    Raises:
        UsageError: as `load_agent`.
    """
    seed = EvaluateAgentConfig().seed
    agent, make, history, _ = load_agent(folder, device)
    agent.generator = generator_of(seed, "all modalities")
    envs = [make() for _ in range(num_episodes)]
    try:
        with torch.inference_mode():
            totals, _ = play(policy_of(agent, 0.0), envs, UNTOUCHED, history=history, seed=seed)
    finally:
        for env in envs:
            env.close()
    return statistics.fmean(totals)
