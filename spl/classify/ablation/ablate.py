"""``spl ablate classifier``: a training per network, attention module and seed, and the papers' tables."""

import shlex
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from spl.ablation.comparison import Comparison, Entry, Outcome
from spl.ablation.grid import Ablation, ablate, check_cells
from spl.ablation.statistics import read_seeds
from spl.ablation.varied import check_distinct
from spl.classify.ablation.grid import AblateClassifierConfig, Variant, cell_of, variants_of
from spl.classify.ablation.tables import MEASURES, PANEL, notes_on, papers_layout
from spl.classify.config import MAY_CHANGE, RUNS, TrainClassifierConfig, build_model
from spl.classify.model import build_classifier, start
from spl.classify.train import documents_of, read_result, train_cell
from spl.config.errors import UsageError
from spl.data.images.datasets import ImageSets, check_same, described, load_images
from spl.data.loading import Images
from spl.models.image.cost import macs, num_parameters
from spl.models.image.network_table import check_size
from spl.runs.directory import RunContext, pick_device, read_run
from spl.runs.files import read_rows
from spl.runs.logger import duration

LONG_HOURS = 8  # a grid that takes longer asks for --yes
TRIED_FROM = 1e13  # multiply-accumulates of a grid of which nobody need ask how long it takes: minutes
TRIED_WITH = 16  # images of the trial


def ablate_classifier(
    config: AblateClassifierConfig,
    *,
    resume: Path | None = None,
    command: list[str] | None = None,
    console: Console | None = None,
) -> Ablation:
    """Train the grid that ``config`` describes, in a new folder or on from the one to ``resume``; compare it.

    A run whose loss is not finite is reported in the table, and the others go on.

    Raises:
        UsageError: if data, model, device or folder do not serve; nothing was started then.
    """
    if resume is not None and (resume / "metrics.jsonl").exists():
        raise UsageError(
            f"{resume} is the run of one classifier, expected a grid of them: "
            f"resume it with spl train classifier --resume {shlex.quote(str(resume))}"
        )
    modules = Modules(config, load_images(config.data, run=resume), is_tried=resume is None)
    left, cells = modules.comparison.seconds_left(), modules.comparison.num_cells
    if resume is None and left is not None and left > 3600.0 * LONG_HOURS and not config.yes:
        raise UsageError(
            f"the grid has {cells:,} cells, which take about {duration(left)} by a trial of one update: "
            "begin it with --yes, or make it smaller"
        )
    if resume is not None:
        _check_grown(resume, modules.variants)
        seeds = read_seeds(config.seeds)
        runs = (
            (name, seed, replace(cell, seed=seed)) for name, cell in modules.cells.items() for seed in seeds
        )
        read = partial(read_run, TrainClassifierConfig, parent=RUNS)
        check_cells(resume, runs, read, MAY_CHANGE, "leave it out")
    name = f"{config.data.name}-{next(iter(modules.cells.values())).model.name}"
    return ablate(modules, name, resume=resume, command=command, console=console)


def _check_grown(folder: Path, variants: Collection[str]) -> None:
    """Refuse a grid none of whose cells belongs to what it is asked to be now."""
    before = [path.name for path in folder.glob("cells/*")]
    if before and not set(before) & set(variants):
        raise UsageError(
            f"the grid in {folder} has the cells {', '.join(sorted(before))}, none of which would be used: "
            "a grid grows by further values of what it varies; begin a new one"
        )


class Modules:
    """The task of a grid: each network and training with each attention module.

    Raises:
        UsageError: if there is no such network, a module does not fit it, or a value does not fit its option.
    """

    command, shape = "spl ablate classifier", "networks x seeds"

    def __init__(self, config: AblateClassifierConfig, sets: ImageSets, *, is_tried: bool) -> None:
        self.config, self.sets = config, sets
        self.documents: Mapping[str, Any] = documents_of(sets)
        self.images = described(sets)
        pick_device(config.device)  # refuses now what no run could begin with
        variants = variants_of(config)
        check_distinct([variant.name for variant in variants])
        self.cells = {variant.name: cell_of(config, variant, 0) for variant in variants}
        self.variants = {variant.name: variant for variant in variants}
        seeds = read_seeds(config.seeds)
        entries = [self._entry(variant) for variant in self.variants.values()]
        baselines = list(dict.fromkeys(variant.baseline for variant in self.variants.values()))
        labels = [self.variants[name].label(config.model.name) for name in baselines]
        notes = notes_on(config, sets, seeds, labels, config.values)
        layout = papers_layout(len(sets.classes))
        work = 3 * len(seeds) * sum(entry.cost for entry in entries)
        per_cost = self._seconds_per_cost(entries) if is_tried and work > TRIED_FROM else None
        self.comparison = Comparison(entries, seeds, MEASURES, (PANEL,), notes, layout, per_cost)

    @property
    def remake(self) -> Callable[[AblateClassifierConfig, Path], "Modules"]:
        """Makes such a task of a grid's options and folder, in another process."""
        return _remade

    def _entry(self, variant: Variant) -> Entry:
        cell = self.cells[variant.name]
        check_size(cell.model.name, self.sets.size, "--data.image_size")
        model = build_model(cell.model, len(self.sets.classes), 0)
        start(model, cell, self.sets)  # refuses now what no run could begin with
        cost = macs(model, (1, 3, self.sets.size, self.sets.size))
        facts = {"parameters": num_parameters(model), "macs": cost}
        work = cost * cell.recipe.epochs * len(self.sets.train.indices)
        label = variant.label(self.config.model.name)
        return Entry(variant.name, label, facts, work, variant.baseline)

    def _seconds_per_cost(self, entries: Sequence[Entry]) -> float:
        """Return what the least network takes for an image and operation, by an update after a first one."""
        least = min(entries, key=lambda entry: entry.facts["macs"])
        cell, size = self.cells[least.name], self.sets.size
        classifier, count = build_classifier(cell, self.sets, 1), min(TRIED_WITH, cell.recipe.batch_size)
        images = torch.zeros(count, 3, size, size, dtype=torch.uint8)
        batch = Images(images, torch.zeros(count, dtype=torch.int64), torch.arange(count))
        for _ in range(2):
            started = time.monotonic()
            float(classifier.update(batch).loss)  # waits for the device
        return (time.monotonic() - started) / count / least.facts["macs"]

    def _cell(self, variant: str, seed: int) -> TrainClassifierConfig:
        """Return what describes one run of the grid, as if it had been started alone."""
        return replace(self.cells[variant], seed=seed)

    def is_finished(self, folder: Path) -> bool:
        """Whether the run in ``folder`` came to its end."""
        return (folder / "result.json").exists()

    def read(self, folder: Path) -> Outcome:
        """Return how the finished run in ``folder`` ended.

        Raises:
            UsageError: if its files cannot be read, or its images were other ones.
        """
        outcome = read_outcome(folder)
        try:
            check_same(read_result(folder)["images"], self.images)
        except (ValueError, KeyError) as error:
            raise UsageError(f"the run in {folder} cannot be compared: {error}") from error
        return outcome

    def train(self, context: RunContext, variant: str, seed: int) -> bool:
        """Train one run, on from where it was stopped; return whether it is finished."""
        return train_cell(context, self._cell(variant, seed), self.sets, seed)


def _remade(config: AblateClassifierConfig, folder: Path) -> Modules:
    return Modules(config, load_images(config.data, run=folder), is_tried=False)


def read_outcome(folder: Path) -> Outcome:
    """Return how the finished run in ``folder`` ended.

    Raises:
        UsageError: if its files cannot be read.
    """
    scores, rows = read_result(folder), read_rows(folder)
    try:
        values = {
            "error": percent_wrong(scores["last"]["top1"]),
            "top5_error": percent_wrong(scores["last"]["top5"]),
            "best_epoch": scores["best"]["epoch"],
            "best_epoch_error": percent_wrong(scores["best"]["top1"]),
        }
        curve = [(epoch, percent_wrong(row[PANEL.tag])) for epoch, row in enumerate(rows, 1)]
        return Outcome(values, rows[-1]["seconds"], {PANEL.tag: curve})
    except LookupError as error:
        raise UsageError(f"the files of {folder} are empty or cut: {error!r}; copy them again") from error


def percent_wrong(share_right: float) -> float:
    """Return the error in percent."""
    return 100.0 * (1.0 - share_right)
