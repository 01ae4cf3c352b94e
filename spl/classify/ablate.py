"""``spl ablate classifier``: a training per attention module and seed, and the papers' tables."""

import shlex
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from spl.ablation.comparison import Comparison, Entry, Outcome
from spl.ablation.grid import Ablation, ablate
from spl.ablation.statistics import read_seeds
from spl.classify.config import TrainClassifierConfig, build_model
from spl.classify.grid import AblateClassifierConfig, Variant, variants_of
from spl.classify.tables import MEASURES, PANEL, notes_on, papers_layout
from spl.classify.train import documents_of, read_result, train_once
from spl.config.errors import UsageError
from spl.data.images.datasets import ImageSets, check_same, described, load_images
from spl.data.labels import flip_labels
from spl.models.cost import macs, num_parameters
from spl.runs.directory import RunContext, pick_device
from spl.runs.files import hold, read_rows


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
    modules = Modules(config, load_images(config.data, run=resume))
    name = f"{config.data.name}-{config.model.name}"
    return ablate(modules, name, resume=resume, command=command, console=console)


class Modules:
    """The task of a grid: the network with each attention module.

    Raises:
        UsageError: if there is no such network, or a module does not fit it.
    """

    command, shape = "spl ablate classifier", "networks x seeds"

    def __init__(self, config: AblateClassifierConfig, sets: ImageSets) -> None:
        self.config, self.sets = config, sets
        self.documents: Mapping[str, Any] = documents_of(sets)
        self.images = described(sets)
        self.variants = {variant.name: variant for variant in variants_of(config)}
        pick_device(config.device)  # refuses now what no run could begin with
        seeds = read_seeds(config.seeds)
        entries = [self._entry(variant) for variant in self.variants.values()]
        notes = notes_on(config, sets, seeds, entries[0].label)
        self.comparison = Comparison(
            entries, seeds, MEASURES, (PANEL,), notes, papers_layout(len(sets.classes))
        )

    def _entry(self, variant: Variant) -> Entry:
        model = build_model(self._cell(variant, 0).model, len(self.sets.classes), 0)
        cost = macs(model, (1, 3, self.sets.size, self.sets.size))
        facts = {"parameters": num_parameters(model), "macs": cost}
        return Entry(variant.name, variant.label(self.config.model.name), facts, cost)

    def _cell(self, variant: Variant, seed: int) -> TrainClassifierConfig:
        """Return what describes one run of the grid, as if it had been started alone."""
        values = {field.name: getattr(self.config, field.name) for field in fields(TrainClassifierConfig)}
        values["model"] = replace(
            self.config.model, attention=variant.attention, attention_options=variant.options
        )
        return TrainClassifierConfig(**{**values, "seed": seed})

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
        return train_cell(context, self._cell(self.variants[variant], seed), self.sets, seed)


def train_cell(context: RunContext, config: TrainClassifierConfig, sets: ImageSets, seed: int) -> bool:
    """Train a run, on from where it stopped; return whether it is finished; wrong labels are the seed's."""
    sets = flip_labels(sets, config.data.label_noise, seed)
    with hold(context.folder):
        return train_once(context, config, sets).is_finished


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
