"""The runner of a grid: every variant with every seed, in turns or several at a time; stopped and resumed.

What a run learns and how it is judged belongs to the task.
"""

import shlex
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

from rich.console import Console

from spl.ablation.comparison import Comparison, Entry, Outcome
from spl.ablation.parallel import Ended, train_cells
from spl.ablation.tables import write_comparison
from spl.ablation.varied import told
from spl.config import parse as configuration
from spl.config.errors import RunError, UsageError
from spl.processes.cluster import cluster
from spl.processes.signals import StopSignals
from spl.runs.directory import RunContext, describe_run, has_learned, held_run, pick_device
from spl.runs.logger import duration, say

T = TypeVar("T")
RUNS = Path("runs/ablation")  # where grids lie unless told otherwise


class Task(Protocol):
    """What a grid is of."""

    command: str  # that makes it: spl ablate classifier
    shape: str  # what its rows and columns are: networks x seeds
    config: Any
    comparison: Comparison  # to which the runner adds outcomes and failures
    documents: Mapping[str, Any]  # by name, what the grid's folder keeps of the data that it began with

    @property
    def remake(self) -> "Callable[[Any, Path], Task]":
        """Makes such a task of a grid's options and folder, in another process: it can be sent there."""

    def is_finished(self, folder: Path) -> bool:
        """Whether the run in ``folder`` came to its end."""

    def read(self, folder: Path) -> Outcome:
        """Return the outcome of the finished run in ``folder``; `UsageError` if it cannot be compared."""

    def train(self, context: RunContext, variant: str, seed: int) -> bool:
        """Train a run, on from where it was stopped; return whether it is finished; `RunError` if never.

        It holds its folder meanwhile.
        """


class Ablation(NamedTuple):
    """How a grid ended."""

    folder: Path
    is_finished: bool  # False: it was told to stop, and can be resumed
    comparison: Comparison


def ablate(
    task: Task,
    name: str,
    *,
    resume: Path | None = None,
    command: list[str] | None = None,
    console: Console | None = None,
    grid: "type[Grid] | None" = None,
) -> Ablation:
    """Train the grid of ``task``, in a new folder of that name or on from the one to ``resume``; compare it.

    ``grid`` is the kind of grid that it is, if another than one whose rows are known from the beginning.

    A run that breaks off is reported in the table, and the others go on.

    Raises:
        UsageError: if data, model, device or folder do not serve; nothing was started then.
    """
    kind = Grid if grid is None else grid
    parent = Path(task.config.runs) / kind.parent
    with (
        cluster(getattr(task.config, "ray", None)) as ray,
        held_run(resume, parent, name, command, console) as context,
    ):
        folder = context.folder
        if ray is None:
            pick_device(task.config.device)  # one that is not here would stand in the folder
        new = {name: one for name, one in task.documents.items() if not (folder / f"{name}.json").exists()}
        describe_run(folder, task.config, context.command, new)
        cells = kind(task, context.console)
        cells.ray = ray
        return Ablation(folder, cells.train_in(folder), task.comparison)


class Grid:
    """Every variant with every seed."""

    word, parent = "grid", "ablation"  # what it calls itself, and where such lie among the runs

    def __init__(self, task: Task, console: Console) -> None:
        self.task, self.console = task, console
        self.cells: Comparison = task.comparison
        self.ray: Any = None  # that trains them elsewhere
        self.parallel: int = getattr(task.config, "parallel", 1)  # a search trains in turns

    def place(self, folder: Path, entry: Entry, seed: int) -> Path:
        """Return the folder of a run."""
        return place_of(folder, entry.name, seed)

    def read(self, folder: Path, entry: Entry, seed: int) -> Outcome:
        """Return the outcome of a finished run."""
        return self.task.read(self.place(folder, entry, seed))

    def order(self, folder: Path) -> Iterator[tuple[Entry, int]]:
        """Yield every run, the first seed of all variants first: so a part of the grid can be compared."""
        for seed in self.cells.seeds:
            for entry in self.cells.entries:
                yield entry, seed

    def write(self, folder: Path) -> None:
        """Write what there is so far."""
        write_comparison(self.cells, folder)

    def train_in(self, folder: Path) -> bool:
        """Train what is not finished yet; return whether all was tried."""
        for entry, seed in Grid.order(self, folder):
            if self.task.is_finished(self.place(folder, entry, seed)):
                entry.outcomes[seed] = self.read(folder, entry, seed)
        self._say_hello(folder)
        is_finished = False
        try:
            with StopSignals() as stop:
                is_finished = self._train_cells(folder, stop)
                with stop.patience():
                    self.write(folder)
        except Exception:
            if has_learned(folder):
                self.say(self._closing_words(folder, is_finished))
            raise
        self.say(self._closing_words(folder, is_finished))
        return is_finished

    def _train_cells(self, folder: Path, stop: StopSignals) -> bool:
        if self.parallel > 1 or self.ray is not None:
            return train_cells(self, folder, stop)
        for entry, seed in self.order(folder):
            if seed in entry.outcomes:
                continue
            if stop.has_come() or (ended := self._train_cell(folder, entry, seed)) is None:
                return False
            with stop.patience():
                self.take(folder, entry, seed, ended)
        return True

    def _train_cell(self, folder: Path, entry: Entry, seed: int) -> Ended | None:
        """Train one run, on from where it was stopped; return how it ended, None if it was told to stop."""
        place = self.place(folder, entry, seed)
        place.mkdir(parents=True, exist_ok=True)
        command = [*self.task.command.split(), "--resume", str(folder)]
        try:
            context = RunContext(place, command, self.console, shlex.join(command))
            return Ended(True) if self.task.train(context, entry.name, seed) else None
        except RunError as error:
            return Ended(False, failure=str(error))

    def take(self, folder: Path, entry: Entry, seed: int, ended: Ended) -> None:
        """Take in how a run ended, write what there is so far, and tell it.

        Raises:
            UsageError: for a mistake with which it could not begin.
        """
        if ended.mistake is not None:
            raise UsageError(ended.mistake)
        if ended.failure is not None:
            entry.failures[seed] = ended.failure
        else:
            entry.outcomes[seed] = self.read(folder, entry, seed)
        self.write(folder)
        self._report(entry, seed)

    def say(self, sentence: str) -> None:
        """Print a sentence."""
        say(self.console, sentence)

    def _say_hello(self, folder: Path) -> None:
        cells = self.cells
        self.say(f"{self.word:<10} {folder}")
        shape = f"{len(cells.entries)} x {len(cells.seeds)}, {self.task.shape}"
        self.say(f"cells      {cells.num_cells} ({shape}), {cells.num_finished} finished")
        if not cells.num_finished and (left := cells.seconds_left()) is not None:
            self.say(f"takes      about {duration(left / self.parallel)}, by a trial of one update")

    def _report(self, entry: Entry, seed: int) -> None:
        """Say how a run ended and how long the others will take."""
        cells, outcome = self.cells, entry.outcomes.get(seed)
        ended = "failed"
        if outcome is not None:
            measure = cells.measures[0]
            ended = f"{measure.told(outcome.values[measure.name])} in {duration(outcome.seconds)}"
        done, left = cells.num_finished + cells.num_failed, cells.seconds_left()
        told = "?" if left is None else f"about {duration(left / self.parallel)}"
        self.say(f"cell       {done} of {cells.num_cells}: {entry.label}, seed {seed}: {ended}; {told} left")

    @property
    def counted(self) -> str:
        """How many of its runs are finished, in words."""
        return f"{self.cells.num_finished} of {self.cells.num_cells} cells"

    def _closing_words(self, folder: Path, is_finished: bool) -> str:
        if is_finished:
            return f"finished: {self.counted}; {self.cells.num_failed} failed"
        again = f"{self.task.command} --resume {shlex.quote(str(folder))}"
        return f"stopped with {self.counted} finished; resume with: {again}"


def check_cells(
    folder: Path,
    runs: Iterable[tuple[str, int, T]],
    read: Callable[[Path], T],
    may_change: Collection[str],
    cure: str,
) -> None:
    """Refuse to go on with a cell of a grid in ``folder`` under other options than those it began with.

    Args:
        folder: of the grid.
        runs: variant, seed, and what would describe its run now.
        read: returns what describes the run in a folder.
        may_change: dotted options in which a cell may differ from before.
        cure: what to do besides starting a new grid.

    Raises:
        UsageError: if a cell has kept its name, but not its options.
    """
    for variant, seed, now in runs:
        if not (place := place_of(folder, variant, seed)).joinpath("config.yaml").exists():
            continue
        for option, (before, after) in configuration.difference(read(place), now).items():
            if option not in may_change:
                raise UsageError(
                    f"{variant} has begun with {option} {told(before)}, which would now be {told(after)}: "
                    f"{cure}, or start a new grid"
                )


def place_of(folder: Path, variant: str, seed: int) -> Path:
    """Return the folder of one run of a grid."""
    return folder / "cells" / variant / f"seed-{seed}"
