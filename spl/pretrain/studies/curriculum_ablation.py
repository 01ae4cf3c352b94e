"""``spl ablate curriculum`` of the autoencoder: training with some wrong sounds under each curriculum."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from spl.ablation.comparison import Measure, Panel
from spl.ablation.curriculum_options import GROWS, EpochOptions, check_epochs, runs_of
from spl.ablation.curriculum_task import LOWEST_LOSS, needs
from spl.config.ranges import Count0
from spl.data.mispairing import Mismatched
from spl.pretrain import config as run
from spl.pretrain.config import PretrainConfig
from spl.pretrain.curriculum import ordered
from spl.pretrain.data import DATA, load_pairs
from spl.pretrain.evaluate import HeldOutConfig, judged, reconstruction
from spl.pretrain.load import read_autoencoder
from spl.pretrain.train import train_once
from spl.runs.directory import RunContext
from spl.runs.files import hold

ALIASES = {**run.PATHS, "test": "test.paths", "test.recordings": "test.paths", "test.films": "test.paths"}
MAY_CHANGE = (*run.MAY_CHANGE, *GROWS)
NUM_JUDGED = 1_024  # samples, evenly over the data
WRONG = "curriculum/mismatched_share"
ERRORS = (
    Measure("error", "error", 4, "clean reconstruction error, mean of six; 1: the mean is predicted"),
    Measure("cross_error", "across modalities", 4, "error of each modality made from the other"),
)
MISMATCHED = (
    Measure("mismatched", "wrong sounds %", 1, "learned samples with a wrong sound, mean over epochs, %"),
    Measure("mismatched_last", "in the last epoch", 1, "learned samples with a wrong sound, last epoch, %"),
)
ERROR_PANEL = Panel("train/loss", "epoch", 1.0, "loss while training")
WRONG_PANEL = Panel(WRONG, "epoch", 100.0, "learned samples with a wrong sound, %")


@dataclass(frozen=True, kw_only=True)
class CurriculaConfig(EpochOptions, PretrainConfig):
    """Everything that describes ``spl ablate curriculum --of autoencoder``: a pretraining, what is varied."""

    of: Literal["autoencoder"] = "autoencoder"
    test: HeldOutConfig = field(default_factory=HeldOutConfig)  # samples to judge by
    num_drawn: Count0 = 0  # samples to draw after each epoch, with 3 s of audio; 0: none

    def __post_init__(self) -> None:
        super().__post_init__()
        if "restarts" in self.variants and self.recipe.layer_epochs:
            raise ValueError(
                "each restart would train its layers again, which is more updates: leave restarts out "
                f"of --variants, or recipe.layer_epochs, got {self.recipe.layer_epochs}"
            )
        check_epochs(self, PretrainConfig)


class Learner:
    """An autoencoder under each curriculum.

    Args:
        config: of the grid.
        run: folder of the grid to go on with, whose recordings or videos are used again.

    Raises:
        UsageError: if data do not serve.
    """

    of, choice = "autoencoder", LOWEST_LOSS

    def __init__(self, config: CurriculaConfig, run: Path | None = None) -> None:
        self.config, self.source = config, load_pairs(replace(config.data, mismatch=0.0), run=run)
        self.documents = {Path(DATA).stem: self.source.described()}
        self.data: dict[str, Any] = {"signature": self.source.signature, "samples": len(self.source)}
        if config.test != HeldOutConfig():
            judged(self.source.signature, config.data, config.test)  # refuses now what does not fit
        for variant in config.variants:
            ordered(self.runs(variant, 0)[0], self.source)  # refuses now what no run of it could begin with
        is_mismatched = config.data.mismatch > 0
        self.measures = (*ERRORS, *MISMATCHED) if is_mismatched else ERRORS
        self.panels = (ERROR_PANEL, WRONG_PANEL) if is_mismatched else (ERROR_PANEL,)
        held_out = ", ".join(config.test.paths)
        self.notes = [
            f"Data: {len(self.source):,} samples of {self.source.history} steps, of which "
            f"{config.data.mismatch:.0%} have the sound of another class; {config.recipe.epochs} "
            f"epochs of three views of each, {config.recipe.batch_size} views an update.",
            "Error: of video and sound made from both, from the video alone and from the sound alone, where "
            "predicting the mean of the training data costs 1; mean of the six. Across modalities: of video "
            "from sound and sound from video. On "
            + (
                f"{held_out}." if held_out else "the clean samples of the training data: nothing is held out."
            ),
        ]
        if is_mismatched:
            self.notes.append("Wrong sounds: percent of the samples learned from that have another's sound.")

    @property
    def name(self) -> str:
        """What it is, for the folder of a grid."""
        return f"autoencoder-{self.config.objective.views}"

    def runs(self, variant: str, seed: int) -> list[PretrainConfig]:
        """Return what describes the runs of a cell."""
        return runs_of(PretrainConfig, self.config, variant, seed)

    def train(self, context: RunContext, config: Any, seed: int) -> bool:
        """Train a run; its wrong sounds are those of the seed."""
        mismatch, source = config.data.mismatch, self.source
        with hold(context.folder):
            mixed = Mismatched(source, mismatch, seed) if mismatch else source
            return train_once(context, config, mixed).is_finished

    def judge(self, folder: Path, rows: Sequence[dict[str, Any]]) -> dict[str, float]:
        """Return the errors, and wrong sounds in percent."""
        shares = reconstruction(read_autoencoder(folder, self.config.device), self.config.test, NUM_JUDGED)
        known = [share for one in shares.values() for share in one.values() if share is not None]
        across = [shares["video"]["audio"], shares["audio"]["video"]]
        found = {
            "error": statistics.fmean(known or [float("nan")]),
            "cross_error": statistics.fmean(
                [share for share in across if share is not None] or [float("nan")]
            ),
        }
        if self.config.data.mismatch > 0:
            wrong = [100.0 * float(row[WRONG]) for row in rows if WRONG in row]
            found |= {"mismatched": statistics.fmean(wrong), "mismatched_last": wrong[-1]}
        return needs(found, folder)
