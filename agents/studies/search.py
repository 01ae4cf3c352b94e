"""``spl search agent``: options drawn by Optuna; each trial trained with several seeds and judged.

Trials are the rows of a grid that grows: trained, stopped and resumed as the cells of ``spl ablate``.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
from rich.console import Console

from spl.ablation.comparison import Comparison, Entry, Measure
from spl.ablation.curriculum_task import Choice, Judged, needs
from spl.ablation.grid import Ablation, Grid, ablate, place_of
from spl.ablation.tables import by_measure
from spl.ablation.varied import changed
from spl.agents import config as run
from spl.agents.collectors.options import COLLECTORS
from spl.agents.config import TrainAgentConfig
from spl.agents.encoder_init import adopt_encoder
from spl.agents.evaluation.returns import interquartile_mean
from spl.agents.studies.curriculum_ablation import return_in_training, returns_of
from spl.agents.studies.search_result import (
    RESULT,
    RETURNS,
    figures,
    rank,
    returns_in,
    value_told,
    write_best,
)
from spl.agents.studies.search_space import Space, as_json, from_json, read_space
from spl.agents.train import train_agent
from spl.config import parse as configuration
from spl.config.errors import RunError, UsageError
from spl.config.options import PathName, narrowed
from spl.config.ranges import Count, Seed, range_in
from spl.packages import require
from spl.runs.directory import RunContext
from spl.runs.files import read_json, replace_text

RUNS = Path("runs/search")  # where searches lie unless told otherwise
MAY_CHANGE = (*(key for key in run.MAY_CHANGE if key != "num_steps"), "num_trials")  # it may grow
IQM = Measure("IQM", "IQM", 2, "interquartile mean of a run's returns with all modalities")
STUDY = "study.db"  # in the folder of a search
RANDOM_TRIALS = 10  # before those that follow from how earlier ones did
SEEDS = range_in(Seed)


@dataclass(frozen=True, kw_only=True)
class SearchAgentConfig(TrainAgentConfig):
    """Everything that describes ``spl search agent``: a training, and what is searched."""

    unlisted: ClassVar[tuple[str, ...]] = ("restarts", *COLLECTORS, "ray")  # that a search decides

    space: PathName  # YAML file of options: each a range {low: ..., high: ..., log: ...} or a list of values
    num_trials: Count = 20  # sets of options to try
    num_seeds: Count = 3  # runs of each trial, with the seeds from seed on
    num_episodes: Count = 20  # episodes that score a run at its end; the same for all

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.restarts != 1:
            raise ValueError(f"a trial has num_seeds runs: leave restarts out, got {self.restarts}")
        if self.ray is not None:
            raise ValueError(f"a search trains on this machine: leave ray out, got {self.ray}")
        assert SEEDS is not None
        if not SEEDS.holds(self.seed + self.num_seeds - 1):
            raise ValueError(f"the seeds from {self.seed} on are not {self.num_seeds}: choose a lower seed")

    @property
    def seeds(self) -> list[int]:
        """Seeds of the runs of each trial."""
        return list(range(self.seed, self.seed + self.num_seeds))


class Trials:
    """An agent under the options of each trial."""

    of = "agent"
    measures, panels, notes = (IQM,), (), ()
    documents: ClassVar[dict[str, Any]] = {}
    choice = Choice(max, return_in_training, "")  # of restarts, which a trial has not

    def __init__(self, config: SearchAgentConfig) -> None:
        self.config = config
        self.data = {"env": config.env.id}
        self.options: dict[str, dict[str, Any]] = {}  # of each trial, by its name

    def config_of(self, variant: str) -> TrainAgentConfig:
        """Return what describes the runs of a trial, but for their seeds.

        Raises:
            UsageError: if its options do not go together.
        """
        return changed(narrowed(TrainAgentConfig, self.config), self.options[variant])

    def runs(self, variant: str, seed: int) -> Sequence[Any]:
        """Return what describes a run of a trial."""
        try:
            return [replace(self.config_of(variant), seed=seed)]
        except UsageError as error:
            raise RunError(f"its options do not go together: {error}") from error

    def train(self, context: RunContext, config: Any, seed: int) -> bool:
        """Train a run."""
        folder, command, console, resume_with = context
        return train_agent(
            adopt_encoder(config), resume=folder, command=command, console=console, go_on_with=resume_with
        ).is_finished

    def judge(self, folder: Path, rows: Sequence[dict[str, Any]]) -> dict[str, float]:
        """Return the interquartile mean of its returns, which are kept."""
        returns = returns_of(folder, self.config.num_episodes, self.config.device)
        found = needs({IQM.name: interquartile_mean(np.array(returns))}, folder)
        replace_text(folder / RETURNS, json.dumps(returns) + "\n")
        return found


class SearchTask(Judged):
    """The task of a search: its trials with each seed."""

    command, shape = "spl search agent", "trials x seeds"

    def __init__(self, config: SearchAgentConfig, space: Space) -> None:
        self.trials, self.space = Trials(config), space
        entries = [Entry(f"trial-{number}", f"trial {number}") for number in range(config.num_trials)]
        layout = by_measure("trial", (IQM,))
        subject: Any = self.trials
        super().__init__(subject, Comparison(entries, config.seeds, (IQM,), (), (), layout))
        self.documents: Mapping[str, Any] = {"space": as_json(space)}

    def train(self, context: RunContext, variant: str, seed: int) -> bool:
        """Train a run; what one cannot begin with ends the search only where none has come to its end."""
        try:
            return super().train(context, variant, seed)
        except UsageError as error:
            if not self.comparison.num_finished:
                raise
            raise RunError(str(error)) from error


class Search(Grid):
    """A grid whose rows are drawn by Optuna, one after the other, from how those before them did."""

    word, parent = "search", "search"
    task: SearchTask

    def __init__(self, task: SearchTask, console: Console) -> None:
        super().__init__(task, console)
        self._whole: dict[str, dict[str, Any]] = {}  # figures of the trials that are whole, by name

    def order(self, folder: Path) -> Iterator[tuple[Entry, int]]:
        """Yield the runs of each trial; what is drawn, and how it ended, lies in ``study.db``.

        A trial is drawn with a seed of its own, so that a search that was stopped goes on as if it had not.

        Raises:
            RunError: if that file cannot be read or written.
        """
        from optuna.exceptions import StorageInternalError
        from sqlalchemy.exc import SQLAlchemyError

        try:
            yield from self._order(folder)
        except (StorageInternalError, SQLAlchemyError) as error:
            cause = error if error.__cause__ is None else error.__cause__
            why = getattr(cause, "orig", cause)
            raise RunError(
                f"{folder / STUDY} cannot be read or written: {why}; make room on its disk, "
                "or copy it again, and resume the search"
            ) from error

    def _order(self, folder: Path) -> Iterator[tuple[Entry, int]]:
        from optuna.trial import TrialState

        study, space, config = open_study(folder), self.task.space, self.task.trials.config
        for number, entry in enumerate(self.cells.entries):
            if number == len(study.trials):
                draw(study, space, (config.seed + number) % 2**32)  # numpy has no others
            trial = study.trials[number]
            options = {name: space[name].value(drawn) for name, drawn in trial.params.items()}
            self.task.trials.options[entry.name] = options
            if trial.state == TrialState.FAIL:
                self._fail(entry, why_failed(folder, entry).read_text(encoding="utf-8"))
            if trial.state.is_finished():
                continue
            words = ", ".join(f"{option} {value_told(value)}" for option, value in options.items())
            self.say(f"trial      {number}: {words}")
            for seed in self.cells.seeds:
                if not entry.failures:
                    yield entry, seed
            if entry.failures:
                why = next(iter(entry.failures.values()))
                self._fail(entry, why)
                replace_text(why_failed(folder, entry), why)
                study.tell(number, state=TrialState.FAIL)
            else:
                study.tell(number, interquartile_mean(returns_in(folder, entry, config.seeds)))

    def _fail(self, entry: Entry, why: str) -> None:
        missing = [seed for seed in self.cells.seeds if seed not in entry.outcomes]
        entry.failures.update(dict.fromkeys(missing, why))

    def write(self, folder: Path) -> None:
        """Write ``search.json``, and the options of the best trial as a file for ``--config``."""
        trials = self.task.trials
        config, options = trials.config, trials.options
        drawn = [entry for entry in self.cells.entries if entry.name in options]
        for entry in drawn:
            if entry.name not in self._whole and len(entry.outcomes) == len(config.seeds):
                self._whole[entry.name] = figures(folder, entry, config.seeds)
        ranked = rank(drawn, options, self._whole)
        result: dict[str, Any] = {
            "env": config.env.id,
            "num_steps": config.num_steps,
            "seeds": config.seeds,
            "episodes": config.num_episodes,
            "trials": ranked,
        }
        if ranked and ranked[0]["rank"] is not None:
            best = configuration.dump(trials.config_of(ranked[0]["trial"]))
            result["command"] = write_best(folder, best)
        replace_text(folder / RESULT, json.dumps(result, indent=1) + "\n")


def why_failed(folder: Path, entry: Entry) -> Path:
    """Return the file that says why a trial failed."""
    return place_of(folder, entry.name, 0).parent / "failed.txt"


def open_study(folder: Path) -> Any:
    """Return Optuna's study in ``folder``, made if it is not there."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    path = (folder / STUDY).resolve()
    return optuna.create_study(
        storage=f"sqlite:///{path}", study_name="search", direction="maximize", load_if_exists=True
    )


def draw(study: Any, space: Space, seed: int) -> None:
    """Add the next trial to a study, with all of its options at once: a kill leaves it whole, or none.

    Optuna's own ``ask`` writes them one after the other, and so it is asked of a copy that is in no file.
    """
    import optuna

    distributions = {name: one.distribution() for name, one in space.items()}
    sampler = optuna.samplers.TPESampler(n_startup_trials=RANDOM_TRIALS, seed=seed)
    copy = optuna.create_study(direction="maximize", sampler=sampler)
    copy.add_trials(study.trials)
    drawn = copy.ask(fixed_distributions=distributions).params
    running = optuna.trial.TrialState.RUNNING
    study.add_trial(optuna.create_trial(state=running, params=drawn, distributions=distributions))


class Found(NamedTuple):
    """How a search ended."""

    folder: Path
    is_finished: bool  # False: it was told to stop, and can be resumed
    result: dict[str, Any]  # what search.json holds


def search_agent(
    config: SearchAgentConfig,
    *,
    resume: Path | None = None,
    command: list[str] | None = None,
    console: Console | None = None,
) -> Found:
    """Try ``num_trials`` sets of options, in a new folder or on from the one to ``resume``.

    Raises:
        UsageError: if the space, the environment or the folder does not serve, or Optuna is not installed.
    """
    require("optuna", "spl search needs optuna")
    space = read_space(Path(config.space)) if resume is None else from_json(read_json(resume / "space.json"))
    task = SearchTask(config, space)
    name = f"{config.env.id.split('/')[-1]}-s{config.seed}"
    done: Ablation = ablate(task, name, resume=resume, command=command, console=console, grid=Search)
    return Found(done.folder, done.is_finished, read_json(done.folder / RESULT))
