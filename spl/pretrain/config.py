"""The configuration of a pretraining, the model built from it, and the means of its data."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch

from spl.config.errors import UsageError
from spl.config.fields import check_fields
from spl.config.options import PathName
from spl.config.ranges import MOST, Count, Count0, Positive, Range, Seed, ShareBelow1, Threads
from spl.curriculum import CurriculumConfig
from spl.data.audiovisual import PairSource
from spl.data.statistics import Moments
from spl.models.autoencoder import CONDITIONS, TwoStreamAutoencoder
from spl.models.encoder import EncoderConfig, build_encoder
from spl.models.streams import in_units
from spl.pretrain.data import PairsConfig
from spl.pretrain.objective import ObjectiveConfig
from spl.runs.directory import generator_of
from spl.runs.trackers import TrackerName

RUNS = Path("runs/autoencoder")  # where runs lie unless told otherwise
RESTARTS = "restarts.json"  # in the folder of a run with restarts that is whole: which one is kept
PATHS = dict.fromkeys(("data", "films", "data.recordings", "data.films.root"), "data.paths")
ALIASES = {**PATHS, "curriculum": "curriculum.name"}
MAY_CHANGE = (
    "data.videos.num_workers",
    "checkpoint_every_minutes",
    "num_drawn",
    "num_threads",
    "device",
    "runs",
    "track",
)
MOMENT_SAMPLES = 4_096  # from which means and variances are taken
MOMENT_BATCH = 64


@dataclass(frozen=True, kw_only=True)
class PretrainRecipe:
    """How an autoencoder is trained."""

    epochs: Count = 10  # passes over the samples, each in three views
    batch_size: Annotated[int, Range(3, MOST)] = 96  # views per update
    learning_rate: Positive = 1e-3  # peak learning rate of Adam
    schedule: Literal["constant", "cosine"] = "cosine"  # how the learning rate decays
    warmup_epochs: Count0 = 0  # epochs over which the learning rate grows from 0
    max_grad_norm: Positive | None = 10.0  # clip the gradient's norm; null: off
    layer_epochs: Count0 = 0  # epochs of each dense layer alone, before the whole; 0: none
    layer_drop: ShareBelow1 = 0.3  # share of the input dropped while a layer is trained alone

    def __post_init__(self) -> None:
        check_fields(self)
        if self.warmup_epochs > self.epochs:
            raise ValueError(
                f"warmup_epochs must be at most epochs ({self.epochs}), got {self.warmup_epochs}"
            )


@dataclass(frozen=True, kw_only=True)
class PretrainConfig:
    """Everything that describes a run of ``spl pretrain autoencoder``."""

    presets_of: ClassVar[str] = "spl pretrain autoencoder"

    data: PairsConfig = field(default_factory=PairsConfig)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    recipe: PretrainRecipe = field(default_factory=PretrainRecipe)
    curriculum: CurriculumConfig = field(default_factory=CurriculumConfig)  # which samples, when
    paced_by: Literal["across", "loss"] = "across"  # difficulty: error across modalities, or whole loss
    restarts: Count = 1  # random initialisations, of which the best is kept
    seed: Seed = 0  # determines all random numbers
    device: str = "auto"  # cpu, cuda, mps, or auto: cuda if available
    num_threads: Threads | None = None  # of torch on the CPU; null: adapts to the free cores
    runs: PathName = "runs"  # folder that holds all runs
    track: TrackerName | None = None  # tracker that also gets the rows; null: TensorBoard, if installed
    checkpoint_every_minutes: Positive = 10.0  # minutes between checkpoints, in addition to each epoch's end
    num_drawn: Count0 = 4  # samples to draw after each epoch, with 3 s of audio; 0: none

    def __post_init__(self) -> None:
        check_fields(self)
        if self.encoder.custom is not None:
            raise ValueError(
                f"encoder.custom={self.encoder.custom} is for agents: an autoencoder has the two streams"
            )
        self.objective.check_code(self.encoder)
        views = self.objective.views
        if self.curriculum.name != "uniform" and self.paced_by == "across" and views in CONDITIONS:
            raise ValueError(
                f"paced_by=across needs views that hide each modality, got objective.views={views}: choose "
                "thirds or random, or paced_by=loss"
            )


def measure(source: PairSource, seed: int) -> tuple[Moments, Moments]:
    """Return mean and variance of video and audio, in the units of `in_units`, over samples that have them.

    Raises:
        UsageError: if no sample has a modality, or it never changes.
    """
    chosen = generator_of(seed, "moments").permutation(len(source))[:MOMENT_SAMPLES]
    moments = Moments(), Moments()
    for first in range(0, len(chosen), MOMENT_BATCH):
        pairs = source.pairs(np.sort(chosen[first : first + MOMENT_BATCH]))
        for modality, found in enumerate(moments):
            found.add(in_units(pairs[modality][pairs.present[:, modality]]))
    for name, found in zip(("video", "audio"), moments, strict=True):
        if not found.count or not found.variance > 0:
            what = "is absent from all samples" if not found.count else "is the same in all samples"
            raise UsageError(f"there is nothing to learn: the {name} {what}")
    return moments


def build_model(config: EncoderConfig, source_spec: Any, history: int, seed: int) -> TwoStreamAutoencoder:
    """Return the autoencoder; its weights are drawn from the seed, whatever was drawn before.

    Raises:
        UsageError: if a stream cannot read what ``source_spec`` describes.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            return TwoStreamAutoencoder(build_encoder(config, source_spec, history=history))
        except ValueError as error:
            raise UsageError(str(error)) from error
