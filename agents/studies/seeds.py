"""``spl train agent --seeds 0-4``: one training with several seeds, in one folder; their returns in a table.

The grid of a single variant: what trains, stops and resumes its runs is `spl.ablation.grid`.
"""

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from spl.ablation.comparison import Comparison, Entry, Measure
from spl.ablation.curriculum_task import OUTCOME, Judged
from spl.ablation.grid import Ablation, Grid, ablate
from spl.ablation.statistics import interval, read_seeds
from spl.ablation.tables import as_table, by_measure
from spl.agents import config as run
from spl.agents.collectors.progress import RECENT_EPISODES
from spl.agents.config import RUNS, TrainAgentConfig
from spl.agents.studies.curriculum_ablation import Learner, return_in_training
from spl.config.errors import UsageError
from spl.config.options import narrowed
from spl.config.ranges import Count
from spl.runs import directory
from spl.runs.files import read_json, replace_text
from spl.runs.logger import duration, print_table

MAY_CHANGE = (*run.MAY_CHANGE, "seeds", "parallel")
BOTH = "--seed and --seeds both say with which seeds to train: leave one out"
SUMMARY = "seeds"  # .json and .md in the folder of all runs
FINAL = Measure("return", "return", 2, f"mean return of the last {RECENT_EPISODES} episodes of training")


@dataclass(frozen=True, kw_only=True)
class TrainAgentsConfig(TrainAgentConfig):
    """Everything that describes ``spl train agent``: a training, with one seed or several."""

    seeds: str | None = None  # train once with each of these: 0-4, or 0,3,7; null: once, with seed
    parallel: Count = 1  # runs to train at a time, each in its own process
    ray: str | None = None  # address of a Ray cluster, for seeds or collectors: auto, HOST:6379; null: none

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.seeds is None:
            if self.parallel != 1:
                raise ValueError(f"parallel {self.parallel} is for several seeds: name them, --seeds 0-4")
            return
        if self.seed != 0:
            raise ValueError(f"{BOTH}, got {self.seed} and {self.seeds}")
        if self.restarts != 1:
            raise ValueError(
                f"restarts keep one of several seeds, and seeds keep all: leave one out, got {self.restarts}"
            )
        read_seeds(self.seeds)

    @property
    def is_several(self) -> bool:
        """Whether there are several seeds."""
        return self.seeds is not None

    @property
    def one(self) -> TrainAgentConfig:
        """The training with one seed."""
        return narrowed(TrainAgentConfig, self)


class Seeds(Learner):
    """An agent with each seed."""

    config: TrainAgentsConfig  # type: ignore[assignment]
    measures: Sequence[Measure] = (FINAL,)

    def __init__(self, config: TrainAgentsConfig, run: Path | None = None) -> None:
        self.config = config
        self.data, self.notes = {"env": config.env.id, "num_steps": config.num_steps}, []

    def runs(self, variant: Any, seed: int) -> list[TrainAgentConfig]:
        """Return what describes the run of a seed, as if it had been started alone."""
        return [narrowed(TrainAgentConfig, self.config, seed=seed, ray=None)]

    def judge(self, folder: Path, rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
        """Return the mean return of the last episodes."""
        return {FINAL.name: return_in_training([dict(row) for row in rows])}


class SeedsTask(Judged):
    """The task of a grid: one training with each seed."""

    command, shape = "spl train agent", "trainings x seeds"

    def __init__(self, subject: Any) -> None:
        seeds, layout = read_seeds(subject.config.seeds), by_measure("training", subject.measures)
        entry = Entry("training", subject.name)
        super().__init__(subject, Comparison([entry], seeds, subject.measures, subject.panels, (), layout))

    def is_finished(self, folder: Path) -> bool:
        """Whether the run in ``folder`` took all steps that are asked for now, and is judged."""
        return super().is_finished(folder) and read_json(folder / OUTCOME).get("data") == self.subject.data


class SeedsGrid(Grid):
    """Runs that lie side by side in one folder, named by their seeds."""

    word, parent = "seeds", "agent"

    def place(self, folder: Path, entry: Entry, seed: int) -> Path:
        """Return the folder of a run."""
        return folder / f"seed-{seed}"

    def write(self, folder: Path) -> None:
        """Write ``seeds.json`` and ``seeds.md``."""
        told = summary_of(self.cells)
        replace_text(folder / f"{SUMMARY}.json", json.dumps(told, indent=1) + "\n")
        columns, rows = table_of(told)
        lines = [f"# {headline(told)}", "", *as_table(columns, rows), "", f"- {note_on(told)}"]
        replace_text(folder / f"{SUMMARY}.md", "\n".join(lines) + "\n")


def summary_of(comparison: Comparison) -> dict[str, Any]:
    """Return the return of each seed, their mean and its 95 % interval, as JSON holds them.

    The interval is Student's t over the seeds, as few as they are; null for a single one, as both are
    without any.
    """
    (entry,) = comparison.entries
    returns = list(entry.values(FINAL).values())
    mean, low, high = interval(returns) if returns else (None, None, None)
    return {
        "training": entry.label,
        "num_seeds": len(comparison.seeds),
        "runs": {
            str(seed): {"return": outcome.values[FINAL.name], "seconds": outcome.seconds}
            for seed, outcome in sorted(entry.outcomes.items())
        },
        "failed": {str(seed): reason for seed, reason in sorted(entry.failures.items())},
        "mean": mean,
        "interval_95": [low, high],
    }


def headline(told: Mapping[str, Any]) -> str:
    """Return the title of the table, which says whether it is whole."""
    done, total = len(told["runs"]), told["num_seeds"]
    return f"{told['training']}, {total} seeds" if done == total else f"PARTIAL: {done} of {total} seeds"


def table_of(told: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return columns and rows: the mean first, and then each seed."""
    mean, (low, high) = told["mean"], told["interval_95"]
    spread = "" if low is None else f"{low:.2f} … {high:.2f}"
    rows = [["mean", "-" if mean is None else f"{mean:.2f}", spread, ""]]
    for seed, one in told["runs"].items():
        rows.append([f"seed {seed}", f"{one['return']:.2f}", "", duration(one["seconds"])])
    rows += [[f"seed {seed}", "failed", "", ""] for seed in told["failed"]]
    return ["", FINAL.title, "95 % interval", "time"], rows


def note_on(told: Mapping[str, Any]) -> str:
    """Return the sentences that say what the figures are, and which seeds failed."""
    failed = "".join(f" Seed {seed} failed: {why}." for seed, why in told["failed"].items())
    return (
        f"Return: mean of the last {RECENT_EPISODES} episodes of training, exploration included. Interval "
        f"of the mean: Student's t over the seeds.{failed}"
    )


def train_seeds(
    config: TrainAgentsConfig,
    *,
    resume: Path | None = None,
    command: list[str] | None = None,
    console: Console | None = None,
) -> Ablation:
    """Train once with each seed, in a new folder or on from the one to ``resume``, as `ablate` does.

    Raises:
        UsageError: if the environment or the folder does not serve.
    """
    if resume is not None and not is_of_seeds(resume):
        raise UsageError(f"{resume} is the run of one seed: resume it without --seeds, or begin new ones")
    subject = Seeds(config)
    return ablate(
        SeedsTask(subject), subject.name, resume=resume, command=command, console=console, grid=SeedsGrid
    )


def is_of_seeds(folder: Path) -> bool:
    """Whether the runs of several seeds lie in ``folder``."""
    return directory.read_run(TrainAgentsConfig, folder, RUNS).seeds is not None


def print_seeds(ablation: Ablation) -> None:
    """Print the table, what its figures are, and where more is told."""
    told, path = summary_of(ablation.comparison), shlex.quote(str(ablation.folder))
    print_table(headline(told), *table_of(told))
    print(note_on(told))
    print(f"written to {path}/{SUMMARY}.md and .json; a page of all: spl report {path}")
