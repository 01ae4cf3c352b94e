"""What describes a run of a classifier: its configuration, and the classifier built from it."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import nn

from spl.classify.model import Classifier, RecipeConfig
from spl.classify.mutual_transfer import TransferConfig
from spl.config.errors import UsageError
from spl.config.options import PathName
from spl.config.ranges import Count, Positive, Seed, Threads, check_ranges
from spl.curriculum import CurriculumConfig
from spl.data.images.datasets import DataConfig, ImageSets
from spl.models.resnet import build_resnet
from spl.runs.directory import generator_of, pick_device
from spl.training.compile import compiled

RUNS = Path("runs/classifier")  # where runs lie unless told otherwise
ALIASES = {
    "data": "data.name",
    "model": "model.name",
    "attention": "model.attention",
    "curriculum": "curriculum.name",
}
MAY_CHANGE = (
    "data.root",
    "data.download",
    "data.num_workers",
    "checkpoint_every_minutes",
    "debug_anomaly",
    "num_threads",
    "device",
    "runs",
)


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Which network."""

    name: str = "resnet20"  # one of those that spl models lists
    attention: str = "none"  # none, se, eca, cbam, rcca, ham, csm, cam, sam or shared
    attention_per: Literal["block", "stage"] = "block"  # where its modules stand
    attention_options: dict[str, Any] = field(default_factory=dict)  # of the attention module

    @property
    def placed_attention(self) -> str:
        """Which attention it has, and where if not in each block."""
        return self.attention + ("" if self.attention_per == "block" else f" per {self.attention_per}")


@dataclass(frozen=True, kw_only=True)
class TrainClassifierConfig:
    """Everything that describes a run of ``spl train classifier``."""

    presets_of: ClassVar[str] = "spl train classifier"

    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    recipe: RecipeConfig = field(default_factory=RecipeConfig)
    curriculum: CurriculumConfig = field(default_factory=CurriculumConfig)
    transfer: TransferConfig = field(default_factory=TransferConfig)
    restarts: Count = 1  # random initialisations, of which the best is kept
    seed: Seed = 0  # everything random follows from it
    device: str = "auto"  # cpu, cuda, or auto: cuda where there is one
    precision: Literal["float32", "bfloat16"] = "float32"  # of the network; weights and losses stay float32
    channels_last: bool = False  # keep the channels of a pixel together in memory
    compile: bool = False  # let torch.compile translate the model first
    debug_anomaly: bool = False  # name the module that makes the first NaN; slow
    num_threads: Threads | None = None  # of torch on the CPU; null: what others leave free, now and later
    runs: PathName = "runs"  # folder that holds all runs
    checkpoint_every_minutes: Positive = 10.0  # at the latest, besides the end of each epoch

    def __post_init__(self) -> None:
        check_ranges(self)
        if self.compile and self.transfer.peer is not None and self.transfer.kind == "maps":
            raise ValueError(
                "transfer.kind=maps looks into the network, which compile=true closes; leave it out"
            )


def peer_of(config: TrainClassifierConfig) -> TrainClassifierConfig:
    """Return what describes the peer of a run: its network and its seed, and the run's own as its peer."""
    own, transfer = config.model, config.transfer
    assert transfer.peer is not None
    return replace(
        config,
        model=ModelConfig(
            name=transfer.peer,
            attention=transfer.attention,
            attention_per=transfer.attention_per,
            attention_options=transfer.attention_options,
        ),
        transfer=replace(
            transfer,
            peer=own.name,
            attention=own.attention,
            attention_per=own.attention_per,
            attention_options=own.attention_options,
        ),
        seed=int(generator_of(config.seed, "peer").integers(2**31)),
        restarts=1,
    )


def build_model(config: ModelConfig, num_classes: int, seed: int) -> nn.Module:
    """Return the network of ``config``; its weights are drawn from the seed, whatever was drawn before.

    Raises:
        UsageError: if there is no such network, attention or option.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            model: nn.Module = build_resnet(
                config.name,
                num_classes=num_classes,
                attention=config.attention,
                attention_per=config.attention_per,
                attention_options=config.attention_options,
            )
            return model
        except (ValueError, TypeError) as error:
            raise UsageError(f"model: {error}") from error


def build_classifier(config: TrainClassifierConfig, sets: ImageSets, updates_per_epoch: int) -> Classifier:
    """Return a fresh classifier.

    Raises:
        UsageError: if model or device do not serve.
    """
    model = build_model(config.model, len(sets.classes), config.seed)
    try:
        device = pick_device(config.device)
        return Classifier(
            model,
            config.recipe,
            updates_per_epoch=updates_per_epoch,
            stats=(sets.mean, sets.std),
            device=device,
            is_bfloat16=config.precision == "bfloat16",
            is_channels_last=config.channels_last,
            compile_with=(lambda whole: compiled(whole, device)) if config.compile else None,
        )
    except ValueError as error:
        raise UsageError(str(error)) from error
