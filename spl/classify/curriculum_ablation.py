"""``spl ablate curriculum`` of the classifier: training with some wrong labels under each curriculum."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from spl.ablation.comparison import Measure, Panel
from spl.ablation.curriculum_options import GROWS, EpochOptions, check_epochs, runs_of
from spl.ablation.curriculum_task import LOWEST_LOSS, needs
from spl.classify import config as run
from spl.classify.config import TrainClassifierConfig, build_model
from spl.classify.curriculum import Pacing
from spl.classify.train import documents_of, train_cell
from spl.data.images.datasets import described, load_images
from spl.runs.directory import RunContext, pick_device

ALIASES = {
    "data": "data.name",
    "model": "model.name",
    "attention": "model.attention",
    "label_noise": "data.label_noise",
}
MAY_CHANGE = (*run.MAY_CHANGE, *GROWS)
WRONG = "curriculum/flipped_share"
ACCURACY = Measure("accuracy", "accuracy %", 2, "held-out images named right after the last epoch, %")
FLIPPED = (
    Measure("flipped", "wrong labels %", 1, "learned samples with a wrong label, mean over epochs, %"),
    Measure("flipped_last", "in the last epoch", 1, "learned samples with a wrong label, last epoch, %"),
)
ACCURACY_PANEL = Panel("test/top1", "epoch", 100.0, "held-out images named right, %")
WRONG_PANEL = Panel(WRONG, "epoch", 100.0, "learned samples with a wrong label, %")


@dataclass(frozen=True, kw_only=True)
class CurriculaConfig(EpochOptions, TrainClassifierConfig):
    """Everything that describes ``spl ablate curriculum --of classifier``: a training, and what is varied."""

    of: Literal["classifier"] = "classifier"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_epochs(self, TrainClassifierConfig)


class Learner:
    """A classifier under each curriculum.

    Args:
        config: of the grid.
        run: folder of the grid to go on with, whose pictures are used again.

    Raises:
        UsageError: if data, model or device do not serve.
    """

    of, choice = "classifier", LOWEST_LOSS

    def __init__(self, config: CurriculaConfig, run: Path | None = None) -> None:
        self.config, self.sets = config, load_images(config.data, run=run)
        self.documents = documents_of(self.sets)
        self.data: dict[str, Any] = described(self.sets)
        build_model(config.model, len(self.sets.classes), 0)
        pick_device(config.device)
        for variant in config.variants:
            Pacing(self.runs(variant, 0)[0], self.sets)  # refuses now what no run of it could begin with
        is_noisy = config.data.label_noise > 0
        self.measures = (ACCURACY, *FLIPPED) if is_noisy else (ACCURACY,)
        self.panels = (ACCURACY_PANEL, WRONG_PANEL) if is_noisy else (ACCURACY_PANEL,)
        sets = self.sets
        self.notes = [
            f"Data: {config.data.name}, {len(sets.train.indices):,} images to learn from, of which "
            f"{config.data.label_noise:.0%} have a wrong label; {len(sets.test.indices):,} held out with "
            f"their true ones, {len(sets.classes)} classes, {sets.size} x {sets.size}; {config.model.name}, "
            f"{config.recipe.epochs} epochs of {config.recipe.batch_size} images an update.",
            "Accuracy: percent of the held-out images named right after the last epoch, not the best one.",
        ]
        if is_noisy:
            self.notes.append("Wrong labels: percent of the images learned from whose class is a wrong one.")

    @property
    def name(self) -> str:
        """What it is, for the folder of a grid."""
        return f"{self.config.data.name}-{self.config.model.name}"

    def runs(self, variant: str, seed: int) -> list[TrainClassifierConfig]:
        """Return what describes the runs of a cell."""
        return runs_of(TrainClassifierConfig, self.config, variant, seed)

    def train(self, context: RunContext, config: Any, seed: int) -> bool:
        """Train a run; its wrong labels are those of the seed."""
        return train_cell(context, config, self.sets, seed)

    def judge(self, folder: Path, rows: Sequence[dict[str, Any]]) -> dict[str, float]:
        """Return accuracy and wrong labels, in percent."""
        found = {"accuracy": 100.0 * float(rows[-1]["test/top1"])}
        if self.config.data.label_noise > 0:
            shares = [100.0 * float(row[WRONG]) for row in rows]
            found |= {"flipped": statistics.fmean(shares), "flipped_last": shares[-1]}
        return needs(found, folder)
