"""``spl ablate classifier``: a training for each attention module and seed, and the papers' tables of it."""

import json
import shlex
import shutil
import sys
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from spl.classify.comparison import Comparison, Entry, Outcome, seconds_left
from spl.classify.grid import AblateClassifierConfig, Variant, read_seeds, variants_of
from spl.classify.run import TrainClassifierConfig, build_model
from spl.classify.tables import notes_on, write_comparison
from spl.classify.train import read_result, train_once
from spl.config import RunError, UsageError
from spl.counts import macs, num_parameters
from spl.datasets import ImageSets, check_same, described, load_images
from spl.files import hold
from spl.labels import flip_labels
from spl.report import duration
from spl.runs import describe_run, new_run, pick_device
from spl.signals import StopSignals


class Ablation(NamedTuple):
    """How a grid ended."""

    folder: Path
    is_finished: bool  # False: it was told to stop, and can be resumed
    comparison: Comparison


def ablate_classifier(
    config: AblateClassifierConfig,
    *,
    resume: Path | None = None,
    command: list[str] | None = None,
    console: Console | None = None,
) -> Ablation:
    """Train the grid that ``config`` describes, in a new folder or on from the one to ``resume``; compare it.

    A run whose loss is not finite is told in the table, and the others go on.

    Raises:
        UsageError: if data, model, device or folder do not serve; nothing was started then.
    """
    if resume is not None and (resume / "metrics.jsonl").exists():
        raise UsageError(
            f"{resume} is the run of one classifier, expected a grid of them: "
            f"go on with spl train classifier --resume {shlex.quote(str(resume))}"
        )
    sets = load_images(config.data)
    grid = Grid(config, sets, Console(stderr=True) if console is None else console)
    folder = resume
    if folder is None:
        folder = new_run(Path(config.runs) / "ablation", f"{config.data.name}-{config.model.name}")
    try:
        with hold(folder):
            describe_run(folder, config, sys.argv if command is None else command)
            return Ablation(folder, grid.train_in(folder), grid.comparison)
    except UsageError:
        if resume is None and not any(folder.glob("cells/*/*/metrics.jsonl")):  # nothing was started
            shutil.rmtree(folder)
        raise


class Grid:
    """Every variant with every seed.

    Raises:
        UsageError: if there is no such network, or a module does not fit it.
    """

    def __init__(self, config: AblateClassifierConfig, sets: ImageSets, console: Console) -> None:
        self.config, self.sets, self.console = config, sets, console
        self.images = described(sets)
        self.variants = variants_of(config)
        try:
            pick_device(config.device)
        except ValueError as error:
            raise UsageError(str(error)) from error
        seeds = read_seeds(config.seeds)
        entries = [self._entry(variant) for variant in self.variants]
        notes = notes_on(config, sets, seeds, entries[0].label)
        self.comparison = Comparison(entries, seeds, len(sets.classes), notes)

    def _entry(self, variant: Variant) -> Entry:
        model = build_model(self._cell(variant, 0).model, len(self.sets.classes), 0)
        cost = macs(model, (1, 3, self.sets.size, self.sets.size))
        return Entry(variant.name, variant.label(self.config.model.name), num_parameters(model), cost)

    def _cell(self, variant: Variant, seed: int) -> TrainClassifierConfig:
        """Return what describes one run of the grid, as if it had been started alone."""
        values = {field.name: getattr(self.config, field.name) for field in fields(TrainClassifierConfig)}
        values["model"] = replace(
            self.config.model, attention=variant.attention, attention_options=variant.options
        )
        return TrainClassifierConfig(**{**values, "seed": seed})

    def _cells(self) -> Iterator[tuple[Variant, Entry, int]]:
        """Yield every run, the first seed of all variants first: so a part of the grid can be compared."""
        for seed in self.comparison.seeds:
            for variant, entry in zip(self.variants, self.comparison.entries, strict=True):
                yield variant, entry, seed

    def train_in(self, folder: Path) -> bool:
        """Train what is not finished yet; return whether all was tried."""
        for variant, entry, seed in self._cells():
            place = place_of(folder, variant, seed)
            if (place / "result.json").exists():
                entry.outcomes[seed] = read_outcome(place)
                self._check_images(place)
        self._say_hello(folder)
        is_finished = False
        try:
            with StopSignals() as stop:
                is_finished = self._train_cells(folder, stop)
                with stop.patience():
                    write_comparison(self.comparison, folder)
        finally:
            self.say(self._closing_words(folder, is_finished))
        return is_finished

    def _check_images(self, place: Path) -> None:
        """Refuse to compare with a run whose images were other ones."""
        try:
            check_same(read_result(place)["images"], self.images)
        except (ValueError, KeyError) as error:
            raise UsageError(f"the run in {place} cannot be compared: {error}") from error

    def _train_cells(self, folder: Path, stop: StopSignals) -> bool:
        for variant, entry, seed in self._cells():
            if seed in entry.outcomes:
                continue
            if stop.has_come() or not self._train_cell(folder, variant, entry, seed):
                return False
            with stop.patience():
                write_comparison(self.comparison, folder)
            self._tell(entry, seed)
        return True

    def _train_cell(self, folder: Path, variant: Variant, entry: Entry, seed: int) -> bool:
        """Train one run, on from where it was stopped; return whether it came to an end, be it a bad one."""
        place = place_of(folder, variant, seed)
        place.mkdir(parents=True, exist_ok=True)
        command = ["spl", "ablate", "classifier", "--resume", str(folder)]
        again = shlex.join(command)
        try:
            with hold(place):
                sets = flip_labels(self.sets, self.config.data.label_noise, seed)
                result = train_once(place, self._cell(variant, seed), sets, command, self.console, again)
        except RunError as error:
            entry.failures[seed] = str(error)
            return True
        if result.is_finished:
            entry.outcomes[seed] = read_outcome(place)
        return result.is_finished

    def say(self, sentence: str) -> None:
        """Print a sentence."""
        self.console.print(sentence, highlight=False, soft_wrap=True, markup=False)

    def _say_hello(self, folder: Path) -> None:
        comparison = self.comparison
        self.say(f"grid       {folder}")
        shape = f"{len(comparison.entries)} x {len(comparison.seeds)}, networks x seeds"
        self.say(f"cells      {comparison.num_cells} ({shape}), {comparison.num_finished} finished")

    def _tell(self, entry: Entry, seed: int) -> None:
        """Say how a run ended and how long the others will take."""
        comparison = self.comparison
        outcome = entry.outcomes.get(seed)
        ended = "failed" if outcome is None else f"error {outcome.error:.2f} % in {duration(outcome.seconds)}"
        done, left = comparison.num_finished + comparison.num_failed, seconds_left(comparison)
        told = "?" if left is None else f"about {duration(left)}"
        self.say(
            f"cell       {done} of {comparison.num_cells}: {entry.label}, seed {seed}: {ended}; {told} left"
        )

    def _closing_words(self, folder: Path, is_finished: bool) -> str:
        path, done = shlex.quote(str(folder)), self.comparison.num_finished
        count = f"{done} of {self.comparison.num_cells} cells"
        again = f"go on with: spl ablate classifier --resume {path}"
        if is_finished:
            return f"finished: {count}; {self.comparison.num_failed} failed"
        return f"stopped with {count} finished; {again}"


def place_of(folder: Path, variant: Variant, seed: int) -> Path:
    """Return the folder of one run of a grid."""
    return folder / "cells" / variant.name / f"seed-{seed}"


def read_outcome(folder: Path) -> Outcome:
    """Return how the finished run in ``folder`` ended.

    Raises:
        UsageError: if its files cannot be read.
    """
    scores, path = read_result(folder), folder / "metrics.jsonl"
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        return Outcome(
            error=percent_wrong(scores["last"]["top1"]),
            top5_error=percent_wrong(scores["last"]["top5"]),
            best_epoch=scores["best"]["epoch"],
            best_epoch_error=percent_wrong(scores["best"]["top1"]),
            seconds=rows[-1]["seconds"],
            curve=tuple(percent_wrong(row["test/top1"]) for row in rows),
        )
    except (OSError, ValueError, LookupError) as error:
        raise UsageError(f"{path} is missing, empty or cut: {error!r}; copy it again") from error


def percent_wrong(share_right: float) -> float:
    """Return the error in percent."""
    return 100.0 * (1.0 - share_right)
