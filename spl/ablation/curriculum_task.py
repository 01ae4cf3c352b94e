"""The task of ``spl ablate curriculum``: the same learner under each curriculum.

What is learned, and how it is judged, belongs to a `Subject`: the classifier, the autoencoder, the agent.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from spl.ablation.comparison import Comparison, Entry, Measure, Outcome, Panel
from spl.ablation.curriculum_options import RESTARTS, shares_of
from spl.ablation.statistics import read_seeds
from spl.ablation.tables import by_measure
from spl.config.errors import RunError, UsageError
from spl.runs.directory import RunContext
from spl.runs.files import hold, read_rows, replace_text
from spl.runs.logger import say
from spl.training.restarts import Restarts, train_each

OUTCOME = "outcome.json"  # in the folder of a run of a grid that is whole


class Choice(NamedTuple):
    """By what one of the restarts of a cell is chosen: it counts, the others are reported as rows."""

    best: Callable[[Sequence[float]], float]  # min or max
    of: Callable[[Sequence[dict[str, Any]]], float]  # what the rows of a restart tell
    told: str  # the best, in words


LOWEST_LOSS = Choice(min, lambda rows: float(rows[-1]["train/loss"]), "the lowest loss over its last epoch")


class Subject(Protocol):
    """What is trained under each curriculum."""

    of: str  # classifier, autoencoder or agent
    config: Any
    measures: Sequence[Measure]  # the first is what differences are taken of
    panels: Sequence[Panel]  # figures of rows that are drawn over the run
    data: dict[str, Any]  # what outcomes must have in common, as JSON holds it
    choice: Choice  # of one of the restarts of a cell
    notes: Sequence[str]
    documents: Mapping[str, Any]  # by name, what a grid keeps of the data that it began with

    def runs(self, variant: str, seed: int) -> Sequence[Any]:
        """Return what describes the runs of a cell: one, or the restarts."""

    def train(self, context: RunContext, config: Any, seed: int) -> bool:
        """Train a run of the cell of ``seed``, holding its folder; return whether it is finished."""

    def judge(self, folder: Path, rows: Sequence[dict[str, Any]]) -> dict[str, float]:
        """Return the measures of a finished run, whose rows are given."""


class Judged:
    """A task whose runs are trained and judged by a subject."""

    def __init__(self, subject: Subject, comparison: Comparison) -> None:
        self.subject, self.config, self.documents = subject, subject.config, subject.documents
        self.comparison = comparison

    @property
    def remake(self) -> Callable[[Any, Path], Any]:
        """Makes such a task of a grid's options and folder, in another process."""
        return partial(_remade, type(self), type(self.subject))

    def is_finished(self, folder: Path) -> bool:
        """Whether the run in ``folder`` came to its end, and is judged."""
        return (folder / OUTCOME).exists()

    def train(self, context: RunContext, variant: str, seed: int) -> bool:
        """Train a cell and judge it; of restarts the one counts that the subject's choice is."""
        restarts = self._train(context, self.subject.runs(variant, seed), seed)
        if restarts is None:
            return False
        folders = restarts.finished
        if not all((folder / "metrics.jsonl").stat().st_size for folder in folders):
            raise RunError("the run ended before its first row: train it for longer")
        told = [read_rows(folder) for folder in folders]
        kept, choice = 0, self.subject.choice
        if len(folders) > 1:
            values = [choice.of(rows) for rows in told]
            kept = values.index(choice.best(values))
        found = {
            "measures": self.subject.judge(folders[kept], told[kept]),
            "seconds": sum(float(rows[-1]["seconds"]) for rows in told),
            "curves": {panel.tag: curve_of(told[kept], panel) for panel in self.subject.panels},
            "run": folders[kept].name,
            "failed": restarts.failed,
            "data": self.subject.data,
        }
        with hold(context.folder):
            replace_text(context.folder / OUTCOME, json.dumps(found, indent=1) + "\n")
        return True

    def _train(self, context: RunContext, runs: Sequence[Any], seed: int) -> Restarts | None:
        """Train the run of a cell, or its restarts; None if one was told to stop."""
        if len(runs) == 1:
            is_finished = self.subject.train(context, runs[0], seed)
            return Restarts([context.folder], {}) if is_finished else None
        restarts = train_each(
            context.folder,
            runs,
            lambda folder, run: self.subject.train(context._replace(folder=folder), run, seed),
        )
        for name, why in restarts.failed.items() if restarts is not None else ():
            say(context.console, f"{context.folder.name}, {name} failed: {why}")
        return restarts

    def read(self, folder: Path) -> Outcome:
        """Return how the finished run in ``folder`` ended.

        Raises:
            UsageError: if that cannot be read, or its data were other ones.
        """
        path = folder / OUTCOME
        try:
            found = json.loads(path.read_bytes())
            outcome = Outcome(found["measures"], found["seconds"], found["curves"])
            data = found["data"]
            if missing := {one.name for one in self.subject.measures} - outcome.values.keys():
                raise ValueError(f"no {', '.join(sorted(missing))}")
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise UsageError(f"{path} is missing, empty or cut: {error!r}; copy it again") from error
        if data != json.loads(json.dumps(self.subject.data)):
            raise UsageError(
                f"the run in {folder} cannot be compared: its data are not those of now; bring them back, "
                "or start a new grid"
            )
        return outcome


def _remade(task: Any, subject: Any, config: Any, folder: Path) -> Any:
    return task(subject(config, folder))


class Curricula(Judged):
    """The task of a grid: a subject under each curriculum."""

    command, shape = "spl ablate curriculum", "curricula x seeds"

    def __init__(self, subject: Subject) -> None:
        config = subject.config
        entries = [Entry(name, name) for name in config.variants]
        notes = [*subject.notes, *notes_on(subject)]
        seeds, layout = read_seeds(config.seeds), by_measure("curriculum", subject.measures)
        comparison = Comparison(entries, seeds, subject.measures, subject.panels, notes, layout)
        super().__init__(subject, comparison)


def curve_of(rows: Sequence[dict[str, Any]], panel: Panel) -> list[tuple[float, float]]:
    """Return how a figure went, over what the panel counts by."""
    return [(row[panel.clock], panel.scale * row[panel.tag]) for row in rows if panel.tag in row]


def notes_on(subject: Subject) -> list[str]:
    """Return the sentences that say how curricula were compared."""
    config, measure = subject.config, subject.measures[0]
    same = "data and first weights, and as many updates"
    if config.of == "agent":  # which makes its data itself
        same = "environment and first weights, and as many steps"
    notes = [
        f"Seeds: {config.seeds}. All curricula of a seed have the same {same}.",
        f"Difference: of {measure.title} to {config.variants[0]}, mean over the seeds that both have, with "
        "its 95 % interval by Student's t over these pairs; not corrected for multiple comparisons.",
    ]
    if RESTARTS in config.variants:
        total, unit = (
            (config.num_steps, "steps") if config.of == "agent" else (config.recipe.epochs, "epochs")
        )
        most, *_, least = shares_of(total, config.restarts)
        told = f"{least:,}" if least == most else f"{least:,} to {most:,}"
        notes.append(
            f"Restarts: {config.restarts} initialisations of {told} {unit} each, {total:,} in all; the one "
            f"with {subject.choice.told} counts."
        )
    return notes


def needs(values: dict[str, float], folder: Path) -> dict[str, float]:
    """Return measures, all of them finite.

    Raises:
        RunError: naming the one that is not.
    """
    for name, value in values.items():
        if not abs(value) < float("inf"):
            raise RunError(f"the {name} of {folder} is {value}")
    return values
