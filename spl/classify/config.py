"""The configuration of a classifier's run, and the network built from it."""

from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import torch
from torch import nn

from spl.config.errors import UsageError
from spl.config.fields import check_fields
from spl.config.options import PathName
from spl.config.ranges import (
    MOST,
    AtLeast1,
    Count,
    Count0,
    NotNegative,
    Positive,
    Range,
    Seed,
    ShareBelow1,
    Threads,
)
from spl.curriculum import CurriculumConfig
from spl.data.images.datasets import DataConfig
from spl.models.image.networks import build_network
from spl.runs.directory import generator_of
from spl.runs.trackers import TrackerName

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
    "track",
)


OF_KIND = {  # option of the transfer -> the kinds that have a use for it
    "layers": ("maps", "attention", "fsp"),
    "power": ("maps", "attention"),
    **dict.fromkeys(("grid", "overlap", "below"), ("maps",)),
    "temperature": ("predictions",),
}


Correlation = Annotated[float, Range(-1.0, 1.0, "(]")]


@dataclass(frozen=True, kw_only=True)
class TransferConfig:
    """With whom a classifier learns together, and what each takes from the other."""

    peer: str | None = None  # second network for mutual learning; null: train one alone
    attention: str = "none"  # attention of the peer
    attention_per: Literal["block", "stage"] = "block"  # one module per residual block, or per stage
    attention_options: dict[str, Any] = field(default_factory=dict)  # of the peer's attention module
    attention_stages: tuple[Count, ...] = ()  # stages of the peer that have attention, from 1; empty: all
    weights: PathName | None = None  # of a fixed teacher, as in model.weights; null: the peer learns too
    kind: Literal["maps", "predictions", "attention", "fsp"] = "maps"  # what the two learn from each other
    weight: NotNegative = 1.0  # weight of the transfer term; 0: each learns as if alone
    layers: tuple[str, ...] = ()  # layers of both that are compared; empty: all stages
    power: AtLeast1 = 1.0  # exponent of the features in a layer's map
    grid: Annotated[int, Range(1, 1024)] = 4  # patches along each side of the summed map
    overlap: ShareBelow1 = 0.0  # overlap of neighbouring patches, as a share of a patch
    below: Correlation | None = None  # transfer only patches whose correlation is below this; null: all
    temperature: Positive = 1.0  # of predictions: above 1, unlikely classes count more
    is_joint: bool = False  # let the gradient of each network's term also reach the other

    def __post_init__(self) -> None:
        check_fields(self)  # with a power below 1 the gradient of a feature that is 0 has no end
        chosen = {one.name for one in fields(self) if getattr(self, one.name) not in (one.default, {})}
        if self.peer is None and chosen:
            verb = "needs" if len(chosen) == 1 else "need"
            raise ValueError(f"{', '.join(sorted(chosen))} {verb} a peer; name one with peer")
        for name in sorted(chosen & OF_KIND.keys()):
            if self.kind not in OF_KIND[name]:
                raise ValueError(f"{name}: only kind={' or '.join(OF_KIND[name])} has any, not {self.kind}")
        if self.is_joint and self.weights is not None:
            raise ValueError("is_joint lets the peer learn, which one with weights does not: leave one out")

    @property
    def looks_inside(self) -> bool:
        """Whether layers are compared, and not predictions alone."""
        return self.kind != "predictions"


@dataclass(frozen=True, kw_only=True)
class RecipeConfig:
    """How a classifier is trained: the defaults suit digits; the presets hold the papers'."""

    epochs: Count = 16  # passes over the training images
    batch_size: Annotated[int, Range(2, MOST)] = 32  # images per update
    learning_rate: Positive = 0.1  # peak learning rate
    schedule: Literal["step", "cosine", "constant"] = "cosine"  # how the learning rate decays
    milestones: tuple[Count, ...] = (60, 120, 160)  # epochs at which schedule=step applies factor
    factor: Positive = 0.2  # factor of schedule=step
    warmup_epochs: Count0 = 0  # epochs over which the learning rate grows from 0
    momentum: ShareBelow1 = 0.9  # of stochastic gradient descent
    nesterov: bool = False  # Nesterov momentum
    weight_decay: NotNegative = 1e-3  # of all parameters
    label_smoothing: ShareBelow1 = 0.0  # share of the target spread over all classes
    ema_decay: ShareBelow1 | None = None  # evaluate an exponential moving average of the weights; null: off
    max_grad_norm: Positive | None = None  # clip the gradient's norm; null: off
    freeze: bool = False  # train only the last layer and attention; with model.weights

    def __post_init__(self) -> None:
        check_fields(self)  # a batch norm needs two images
        if self.warmup_epochs > self.epochs:
            raise ValueError(
                f"warmup_epochs must be at most epochs ({self.epochs}), got {self.warmup_epochs}"
            )
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov needs a momentum above 0, got 0")


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Which network."""

    name: str = "resnet20"  # one of those that spl models lists
    weights: PathName | None = None  # initial weights: DEFAULT (torchvision's), a run, a file; null: random
    attention: str = "none"  # none, se, eca, cbam, rcca, ham, csm, cam, sam or shared
    attention_per: Literal["block", "stage"] = "block"  # one module per residual block, or per stage
    attention_options: dict[str, Any] = field(default_factory=dict)  # of the attention module
    attention_stages: tuple[Count, ...] = ()  # stages that have attention, from 1; empty: all

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def placed_attention(self) -> str:
        """Which attention it has, and where if not in each block."""
        where = "" if self.attention_per == "block" else f" per {self.attention_per}"
        stages = ",".join(map(str, self.attention_stages))
        return self.attention + where + (f" in stage {stages}" if stages else "")


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
    seed: Seed = 0  # determines all random numbers
    device: str = "auto"  # cpu, cuda, mps, or auto: cuda if available
    precision: Literal["float32", "bfloat16"] = "float32"  # of the network; weights and losses stay float32
    channels_last: bool = False  # use the channels-last memory format
    compile: bool = False  # compile the model with torch.compile
    debug_anomaly: bool = False  # name the module that produces the first NaN; slow
    num_threads: Threads | None = None  # of torch on the CPU; null: adapts to the free cores
    runs: PathName = "runs"  # folder that holds all runs
    track: TrackerName | None = None  # tracker that also gets the rows; null: TensorBoard, if installed
    checkpoint_every_minutes: Positive = 10.0  # minutes between checkpoints, in addition to each epoch's end

    def __post_init__(self) -> None:
        check_fields(self)
        if self.recipe.freeze and self.model.weights is None:
            raise ValueError(
                "recipe.freeze keeps the weights that model.weights names: name them, or leave it out"
            )
        if self.compile and self.transfer.peer is not None and self.transfer.looks_inside:
            raise ValueError(
                f"transfer.kind={self.transfer.kind} looks into the network, which compile=true closes; "
                "leave it out"
            )


def peer_of(config: TrainClassifierConfig) -> TrainClassifierConfig:
    """Return what describes the peer of a run: its network and its seed, and the run's own as its peer."""
    own, transfer = config.model, config.transfer
    assert transfer.peer is not None
    return replace(
        config,
        model=ModelConfig(
            name=transfer.peer,
            weights=transfer.weights,
            attention=transfer.attention,
            attention_per=transfer.attention_per,
            attention_options=transfer.attention_options,
            attention_stages=transfer.attention_stages,
        ),
        transfer=replace(
            transfer,
            peer=own.name,
            weights=None,
            attention=own.attention,
            attention_per=own.attention_per,
            attention_options=own.attention_options,
            attention_stages=own.attention_stages,
        ),
        recipe=replace(config.recipe, freeze=False),  # its weights are fresh
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
            return build_network(
                config.name,
                num_classes=num_classes,
                attention=config.attention,
                attention_per=config.attention_per,
                attention_options=config.attention_options,
                attention_stages=config.attention_stages,
            )
        except (ValueError, TypeError) as error:
            raise UsageError(f"model: {error}") from error
