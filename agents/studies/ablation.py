"""``spl ablate agent``: a training under each combination of options, over seeds: a table and a figure."""

import contextlib
import re
import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

from rich.console import Console

from spl.ablation.comparison import Comparison, Entry, Layout, Measure
from spl.ablation.curriculum_task import Judged, needs
from spl.ablation.grid import Ablation, ablate, check_cells
from spl.ablation.statistics import check_seeds, read_seeds
from spl.ablation.tables import by_measure, difference, significance, spread, with_interval
from spl.ablation.varied import (
    Values,
    arms_of,
    changed,
    check_distinct,
    check_known,
    combinations,
    told,
    values_of,
)
from spl.agents import config as run
from spl.agents.collectors.options import COLLECTORS
from spl.agents.conditions import UNTOUCHED, Condition
from spl.agents.config import TrainAgentConfig
from spl.agents.studies.curriculum_ablation import PANEL, RETURN, Learner, returns_under
from spl.config.errors import UsageError
from spl.config.options import narrowed
from spl.config.ranges import Count
from spl.envs.registry import make_env
from spl.records import AUDIO, VIDEO

MAY_CHANGE = (
    *(key for key in run.MAY_CHANGE if key != "num_steps"),
    "seeds",
    "vary",
    "arm",
    "parallel",
)  # a grid may grow
VARIED = ("agent.", "encoder.", "pretrained.", "pretrain.", "memory.", "loop.", "curriculum.", "env.")
SAME = ("env.id", "env.kwargs", "env.wrappers")  # of what all play
ALONE = (
    Measure("video_only", "video only", 2, "mean return with video alone"),
    Measure("audio_only", "audio only", 2, "mean return with audio alone"),
)
AS_IT_IS = "as-it-is"
UNDER = {"all modalities": UNTOUCHED, "video only": Condition(AUDIO), "audio only": Condition(VIDEO)}


@dataclass(frozen=True, kw_only=True)
class AblateAgentConfig(TrainAgentConfig):
    """Everything that describes ``spl ablate agent``: a training, and what is varied of it."""

    unlisted: ClassVar[tuple[str, ...]] = ("seed", "restarts", *COLLECTORS)  # that a grid decides

    vary: dict[str, Any] = field(default_factory=dict)  # values of options to try, as --vary.OPTION A,B
    arm: dict[str, Any] = field(default_factory=dict)  # named changes of options, as --arm.NAME.OPTION VALUE
    seeds: str = "0-2"  # seeds for each combination: 0-4, or 0,3,7
    parallel: Count = 1  # runs to train at a time, each in its own process
    ray: str | None = None  # address of the Ray cluster that trains them: auto, HOST:6379; null: this machine
    num_episodes: Count = 50  # episodes that score a run at its end; the same for all
    each_modality: bool = False  # also score with video alone and with audio alone

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.restarts != 1:
            raise ValueError(f"a cell of a grid is one run: leave restarts out, got {self.restarts}")
        check_seeds(self)
        if self.vary and self.arm:
            raise ValueError(
                "vary makes a row of every combination, arm a row of each named change alone: leave one out"
            )
        _check_names("vary", self.values)
        for name, changes in self.arms.items():
            if name == AS_IT_IS or not re.fullmatch(r"[\w+-]+", name):
                raise ValueError(f"--arm.{name}: choose another name, of letters, digits, _, + and - only")
            _check_names(f"arm.{name}", changes)

    @property
    def values(self) -> Values:
        """The values to try of each option that is varied."""
        return values_of(self.vary)

    @property
    def arms(self) -> dict[str, dict[str, Any]]:
        """The options that each named change sets."""
        return arms_of(self.arm)

    @property
    def changes(self) -> dict[str, dict[str, Any]]:
        """What is changed of the training, by the name of the change; the first is the baseline.

        Raises:
            UsageError: if two combinations would have one name.
        """
        if self.arm:
            return {AS_IT_IS: {}, **self.arms}
        found = [(name_of(chosen), chosen) for chosen in combinations(self.values)]
        check_distinct([name for name, _ in found])
        return dict(found)


def _check_names(before: str, names: Collection[str]) -> None:
    """Refuse options ``--BEFORE.OPTION`` that a grid cannot vary."""
    check_known(TrainAgentConfig, names, before)
    for name in names:
        if name in SAME:
            raise ValueError(
                f"--{before}.{name}: the cells of a grid play one environment, so that their returns can be "
                "compared; start a grid for each"
            )
        if name != "num_steps" and not name.startswith(VARIED):
            raise ValueError(f"--{before}.{name}: this changes nothing that is learned; leave it out")


class Options(Learner):
    """An agent under each combination of options.

    Raises:
        UsageError: if a combination cannot be trained, or two have one name.
    """

    config: AblateAgentConfig  # type: ignore[assignment]

    def __init__(self, config: AblateAgentConfig, run: Path | None = None) -> None:
        self.config = config
        self.data = {"env": config.env.id}
        self.measures = (RETURN, *ALONE) if config.each_modality else (RETURN,)
        self.changes, arms = config.changes, config.arms
        self.labels = {
            name: name if name in arms else label_of(changes) for name, changes in self.changes.items()
        }
        for name in self.changes:
            try:
                self.runs(name, max(read_seeds(config.seeds)))
            except (UsageError, ValueError) as error:
                raise UsageError(f"{self.labels[name]} cannot be trained: {error}") from error
        self.notes = [
            f"Environment: {config.env.id}, {config.num_steps:,} steps where no other number is said.",
            f"Return: mean of {config.num_episodes} episodes after the last step with all modalities"
            + (", with video alone and with audio alone" if config.each_modality else "")
            + ", without exploration; the same episodes for all runs.",
            f"Seeds: {config.seeds}. Difference: of return to the first row, mean over the seeds that both "
            "have, with its 95 % interval by Student's t over these pairs; p by the same test, corrected by "
            "Holm's method for the number of rows.",
            *(f"{name}: {label_of(changes)}." for name, changes in arms.items()),
        ]

    def runs(self, variant: Any, seed: int) -> list[TrainAgentConfig]:
        """Return what describes the run of a cell, as if it had been started alone."""
        return [changed(narrowed(TrainAgentConfig, self.config, seed=seed, ray=None), self.changes[variant])]

    def judge(self, folder: Path, rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
        """Return the mean return under each measure's condition."""
        config = self.config
        under = dict(islice(UNDER.items(), len(self.measures)))  # in the order of the measures
        found = returns_under(folder, config.num_episodes, config.device, under).values()
        means = {one.name: statistics.fmean(totals) for one, totals in zip(self.measures, found, strict=True)}
        return needs(means, folder)


class OptionsTask(Judged):
    """The task of a grid: every combination of options with every seed."""

    command, shape = "spl ablate agent", "options x seeds"

    def __init__(self, subject: Any) -> None:
        entries = [Entry(name, label) for name, label in subject.labels.items()]
        summary = by_measure("options", subject.measures).summary
        columns = [with_interval(RETURN), difference(RETURN), significance(RETURN)]
        layout = Layout("options", [*columns, *map(spread, subject.measures[1:])], summary)
        seeds = read_seeds(subject.config.seeds)
        super().__init__(
            subject, Comparison(entries, seeds, subject.measures, (PANEL,), subject.notes, layout)
        )


def label_of(chosen: Mapping[str, Any]) -> str:
    """Return how a table names a combination: ``quantiles 32, history 4``."""
    return ", ".join(
        f"{name} {told(value)}" for name, value in shortened(chosen).items()
    ) or AS_IT_IS.replace("-", " ")


def name_of(chosen: Mapping[str, Any]) -> str:
    """Return the name of a combination's folder: ``quantiles-32-history-4``."""
    words = "-".join(f"{name}-{told(value)}" for name, value in shortened(chosen).items())
    return re.sub(r"[^\w.+-]", "_", words) or AS_IT_IS


def shortened(chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values by the last word of each option, or its whole name where two end alike."""
    last = [name.rpartition(".")[2] for name in chosen]
    return {
        word if last.count(word) == 1 else name: value
        for word, (name, value) in zip(last, chosen.items(), strict=True)
    }


def ablate_agent(
    config: AblateAgentConfig,
    *,
    resume: Path | None = None,
    command: list[str] | None = None,
    console: Console | None = None,
) -> Ablation:
    """Train the grid that ``config`` describes, in a new folder or on from the one to ``resume``; compare it.

    Raises:
        UsageError: if a combination, the environment or the folder does not serve.
    """
    if resume is None:
        with contextlib.closing(make_env(config.env)) as env:
            spec = env.spec_of_streams
        if config.each_modality and not (spec.has_video and spec.has_audio):
            raise UsageError(
                f"each_modality needs video and audio, and {config.env.id} has one of them at most: "
                "leave it out"
            )
    if not config.vary and not config.arm:
        raise UsageError(
            "there is nothing to compare: give values of an option, --vary.agent.gamma 0.9,0.99, or "
            "named changes, --arm.NAME.OPTION VALUE"
        )
    subject = Options(config)
    if resume is not None:
        seeds = read_seeds(config.seeds)
        runs = ((name, seed, subject.runs(name, seed)[0]) for name in subject.changes for seed in seeds)
        check_cells(resume, runs, run.read_run, MAY_CHANGE, "give the change another name")
    return ablate(OptionsTask(subject), subject.name, resume=resume, command=command, console=console)
