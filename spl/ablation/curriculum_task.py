"""The task of ``spl ablate curriculum``: the same learner under each curriculum, whatever it learns.

What is learned, and how it is judged, belongs to a `Subject`: the classifier, the autoencoder, the agent.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

from spl.ablation.figures import draw_measures
from spl.ablation.grid import Place
from spl.ablation.measures import Entry, Measure, Measures, Outcome, Panel
from spl.ablation.statistics import read_seeds
from spl.ablation.tables import write_measures
from spl.config.errors import RunError, UsageError
from spl.config.words import folder_of, take_option
from spl.config.yaml_files import read_yaml_file
from spl.runs.files import hold, replace_text
from spl.runs.logger import say
from spl.training.restarts import Restarts, train_each

T = TypeVar("T")
SUBJECTS = ("classifier", "autoencoder", "agent")
OF = {"--of NAME": f"what learns: {', '.join(SUBJECTS)}; each has its own options"}
RUNS = Path("runs/ablation")  # where grids lie unless told otherwise
RESTARTS = "restarts"  # the variant without a curriculum of which the best initialisation counts
APART = 1_000_000  # between the seeds of restarts: no other cell has them
OUTCOME = "outcome.json"  # in the folder of a run of a grid that is whole


class Subject(Protocol):
    """What is trained under each curriculum."""

    of: str  # classifier, autoencoder or agent
    config: Any
    measures: Sequence[Measure]  # the first is what differences are taken of
    panels: Sequence[Panel]  # figures of rows that are drawn over the run
    data: dict[str, Any]  # what outcomes must have in common, as JSON holds it
    notes: Sequence[str]
    documents: Mapping[str, Any]  # by name, what a grid keeps of the data that it began with

    def runs(self, variant: str, seed: int) -> Sequence[Any]:
        """Return what describes the runs of a cell: one, or the restarts."""

    def train(self, folder: Path, config: Any, seed: int, place: Place) -> bool:
        """Train a run of the cell of ``seed`` in ``folder``; return whether it is finished."""

    def judge(self, folder: Path, rows: Sequence[dict[str, Any]]) -> dict[str, float]:
        """Return the measures of a finished run, whose rows are given."""


class Curricula:
    """The task of a grid: a subject under each curriculum."""

    command, shape = "spl ablate curriculum", "curricula x seeds"

    def __init__(self, subject: Subject) -> None:
        self.subject, self.config, self.documents = subject, subject.config, subject.documents
        entries = [Entry(name, name) for name in self.config.variants]
        notes = [*subject.notes, *notes_on(self.config, subject.measures[0])]
        self.comparison = Measures(
            entries, read_seeds(self.config.seeds), subject.measures, subject.panels, notes
        )

    def is_finished(self, folder: Path) -> bool:
        """Whether the run in ``folder`` came to its end, and is judged."""
        return (folder / OUTCOME).exists()

    def train(self, place: Place, variant: str, seed: int) -> bool:
        """Train a cell and judge it; of restarts the one with the lowest loss over its last epoch counts."""
        restarts = self._train(place, self.subject.runs(variant, seed), seed)
        if restarts is None:
            return False
        folders = restarts.finished
        told = [rows_of(folder) for folder in folders]
        kept = 0
        if len(folders) > 1:
            losses = [float(rows[-1]["train/loss"]) for rows in told]
            kept = losses.index(min(losses))
        found = {
            "measures": self.subject.judge(folders[kept], told[kept]),
            "seconds": sum(float(rows[-1]["seconds"]) for rows in told),
            "curves": {panel.tag: curve_of(told[kept], panel) for panel in self.subject.panels},
            "run": folders[kept].name,
            "failed": restarts.failed,
            "data": self.subject.data,
        }
        with hold(place.folder):
            replace_text(place.folder / OUTCOME, json.dumps(found, indent=1) + "\n")
        return True

    def _train(self, place: Place, runs: Sequence[Any], seed: int) -> Restarts | None:
        """Train the run of a cell, or its restarts; None if one was told to stop."""
        if len(runs) == 1:
            is_finished = self.subject.train(place.folder, runs[0], seed, place)
            return Restarts([place.folder], {}) if is_finished else None
        restarts = train_each(
            place.folder,
            len(runs),
            lambda folder, number: self.subject.train(folder, runs[number], seed, place),
        )
        for name, why in restarts.failed.items() if restarts is not None else ():
            say(place.console, f"{place.folder.name}, {name} failed: {why}")
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

    def write(self, folder: Path) -> None:
        """Write the comparison so far: ``ablation.md``, ``.csv`` and ``.png``, and ``summary.csv``."""
        if self.comparison.num_finished:
            draw_measures(self.comparison, folder / "ablation.png")
        write_measures(self.comparison, folder)

    def told(self, outcome: Outcome) -> str:
        """Return an outcome in a few words."""
        measure = self.subject.measures[0]
        return f"{measure.name} {outcome.values[measure.name]:.{measure.digits}f}"


def rows_of(folder: Path) -> list[dict[str, Any]]:
    """Return the rows of the finished run in ``folder``.

    Raises:
        UsageError: if they cannot be read.
    """
    path = folder / "metrics.jsonl"
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        if not rows:
            raise ValueError("no rows")
        return rows
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} is missing, empty or cut: {error!r}; copy it again") from error


def curve_of(rows: Sequence[dict[str, Any]], panel: Panel) -> list[tuple[float, float]]:
    """Return how a figure went, over what the panel counts by."""
    return [(row[panel.clock], panel.scale * row[panel.tag]) for row in rows if panel.tag in row]


def runs_of(config_class: type[T], config: Any, variant: str, seed: int) -> list[T]:
    """Return what describes the runs of a cell of epochs, as if each had been started alone.

    The restarts share the epochs of one run: as many updates in all.
    """
    values = {one.name: getattr(config, one.name) for one in fields(config_class)}  # type: ignore[arg-type]
    if variant != RESTARTS:
        difficulty = config.difficulty if variant == "predefined" else None
        values |= {"curriculum": config.curriculum.named(variant, difficulty), "restarts": 1, "seed": seed}
        return [config_class(**values)]
    values |= {"curriculum": config.curriculum.named("uniform"), "restarts": 1}
    each, more = divmod(config.recipe.epochs, config.restarts)
    return [
        config_class(
            **{
                **values,
                "recipe": replace(config.recipe, epochs=each + (number < more)),
                "seed": seed + APART * number,
            }
        )
        for number in range(config.restarts)
    ]


def check_grid(config: Any, standard: str) -> None:
    """Refuse what a grid of curricula decides itself, and variants that cannot be trained.

    Raises:
        ValueError: in one sentence.
    """
    if config.curriculum.name != standard:
        raise ValueError(
            "--variants names the curricula of a grid: leave curriculum.name out, "
            f"got {config.curriculum.name!r}"
        )
    if config.seed != 0:
        raise ValueError(f"--seeds names the seeds of a grid: leave seed out, got {config.seed}")
    if not config.variants:
        raise ValueError("--variants must name at least one curriculum, got none")
    if twice := [name for name in config.variants if config.variants.count(name) > 1]:
        raise ValueError(f"--variants must name each curriculum once, got {twice[0]} twice")
    read_seeds(config.seeds)


def check_epochs(config: Any, config_class: type) -> None:
    """Refuse restarts that have no epoch each, and a file of difficulties without its variant.

    Raises:
        ValueError: in one sentence.
    """
    check_grid(config, "self-paced")
    if RESTARTS in config.variants and not 2 <= config.restarts <= config.recipe.epochs:
        raise ValueError(
            f"restarts must be in 2..recipe.epochs ({config.recipe.epochs}), which they share, "
            f"got {config.restarts}"
        )
    if ("predefined" in config.variants) != (config.difficulty is not None):
        raise ValueError(
            "--variants predefined and --difficulty FILE need each other: give both, or neither; "
            f"got {','.join(config.variants)} and {config.difficulty}"
        )
    for variant in config.variants:
        try:
            runs_of(config_class, config, variant, max(read_seeds(config.seeds)))
        except ValueError as error:
            raise ValueError(f"the variant {variant} cannot be trained: {error}") from error


def notes_on(config: Any, measure: Measure) -> list[str]:
    """Return the sentences that say how curricula were compared."""
    same = "data and first weights, and as many updates"
    if config.of == "agent":  # which makes its data itself
        same = "environment and first weights, and as many steps"
    notes = [
        f"Seeds: {config.seeds}. All curricula of a seed have the same {same}.",
        f"Difference: of {measure.title} to {config.variants[0]}, mean over the seeds that both have, with "
        "its 95 % interval by Student's t over these pairs; nothing is corrected for there being several.",
    ]
    if RESTARTS in config.variants:
        each, more = divmod(config.recipe.epochs, config.restarts)
        told = f"{each} to {each + 1}" if more else f"{each}"
        notes.append(
            f"Restarts: {config.restarts} initialisations of {told} epochs each, {config.recipe.epochs} in "
            "all; the one with the lowest loss over its last epoch counts."
        )
    return notes


def subject_of(argv: list[str]) -> tuple[str, list[str]]:
    """Return what learns, as ``--of NAME`` says or the grid to ``--resume``, and the other words.

    Raises:
        UsageError: if there is no such learner, or the folder is no grid of curricula.
    """
    rest, of = take_option(argv, "--of")
    _, run = take_option(rest, "--resume")
    if run is not None:
        path = folder_of(run, "--resume") / "config.yaml"
        try:
            there = str(read_yaml_file(path)["of"])
        except (ValueError, LookupError, TypeError) as error:
            raise UsageError(f"{run} is not a grid of curricula: {path} does not say of what") from error
        if of not in (None, there):
            raise UsageError(f"{run} is a grid of the {there}, got --of {of}; leave --of out")
        of = there
    of = "classifier" if of is None else of
    if of not in SUBJECTS:
        raise UsageError(f"--of must be one of {', '.join(SUBJECTS)}, got {of!r}")
    return of, rest


def needs(values: dict[str, float], folder: Path) -> dict[str, float]:
    """Return measures, all of them finite.

    Raises:
        RunError: naming the one that is not.
    """
    for name, value in values.items():
        if not abs(value) < float("inf"):
            raise RunError(f"the {name} of {folder} is {value}")
    return values
