"""The configuration of an agent's run, its directory, and the agent built from it."""

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import torch

from spl.agents.augmentation import Augmentation
from spl.agents.collectors.options import check_collectors
from spl.agents.companions import Companions
from spl.agents.curriculum_config import ReplayCurriculumConfig
from spl.agents.custom_network import check_two_streams, maker_of, own_classes
from spl.agents.dqn import MultimodalDqn
from spl.agents.dqn_config import DqnConfig
from spl.agents.own_layers import check_own_layers
from spl.agents.pretrained_config import PretrainedConfig, PretrainingConfig
from spl.agents.q_network.decoupled import Sizes
from spl.agents.q_network.implicit import Fractions
from spl.agents.q_network.network import MultimodalQNetwork
from spl.agents.q_network.reconstruction import Decoders
from spl.config.errors import UsageError
from spl.config.fields import check_fields
from spl.config.options import PathName
from spl.config.ranges import Count, Count0, Positive, Seed, Threads, Timeout
from spl.envs.config import EnvConfig
from spl.envs.registry import may_crash
from spl.models.custom import encoder_of
from spl.models.encoder import EncoderConfig
from spl.pretrain.config import RESTARTS
from spl.records import StreamSpec
from spl.runs import directory as runs
from spl.runs.directory import described_run, generator_of
from spl.runs.trackers import TrackerName

RUNS = Path("runs/agent")  # where runs lie unless told otherwise
ALIASES = {
    "env": "env.id",
    "pretrained": "pretrained.run",
    "encoder": "pretrained.run",
    "curriculum": "curriculum.name",
    "bins": "env.bins",
    "encoder.class": "encoder.custom",
    "encoder.recurrent": "agent.recurrent",
}


@dataclass(frozen=True, kw_only=True)
class MemoryConfig:
    """What is remembered."""

    capacity: Count = 50_000  # observations to reserve RAM for; an episode has one more than transitions
    min_size: Count = 500  # transitions before the first update
    history: Count = 4  # steps stacked in an observation
    on_disk: bool = False  # keep the arrays in the run directory instead of RAM
    on_device: bool = False  # keep video and audio on the device too, and stack them there

    def __post_init__(self) -> None:
        check_fields(self)
        if self.min_size > self.capacity:
            raise ValueError(f"min_size must be in 1..capacity ({self.capacity}), got {self.min_size}")


@dataclass(frozen=True, kw_only=True)
class LoopConfig:
    """The two phases: how long each is."""

    collect_steps: Count = 2  # steps to collect before each learning phase
    replays: Count = 1  # mini-buffers sampled per learning phase
    mini_buffer: Count = 32  # transitions, or sequences, sampled from the memory at a time
    batch_size: Count = 32  # transitions, or sequences, per update

    def __post_init__(self) -> None:
        check_fields(self)
        if self.batch_size > self.mini_buffer:
            raise ValueError(
                f"batch_size must be at most mini_buffer ({self.mini_buffer}), got {self.batch_size}"
            )


@dataclass(frozen=True, kw_only=True)
class TrainAgentConfig:
    """Everything that describes a run of ``spl train agent``."""

    presets_of: ClassVar[str] = "spl train agent"

    env: EnvConfig = field(default_factory=EnvConfig)
    agent: DqnConfig = field(default_factory=DqnConfig)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    pretrained: PretrainedConfig = field(default_factory=PretrainedConfig)
    pretrain_steps: Count0 = 0  # random steps to record and pretrain the encoder on first
    pretrain: PretrainingConfig = field(default_factory=PretrainingConfig)  # how, on those
    memory: MemoryConfig = field(default_factory=MemoryConfig)
    loop: LoopConfig = field(default_factory=LoopConfig)
    curriculum: ReplayCurriculumConfig = field(default_factory=ReplayCurriculumConfig)
    num_steps: Count = 8_000  # agent decisions, summed over all environments
    num_envs: Count = 1  # environments stepped together
    collectors: Count0 = 0  # processes that collect, each with num_envs environments; 0: this process
    chunk_steps: Count = 32  # steps after which a collector sends its transitions
    ordered: bool = False  # take the collectors' transitions in a fixed order: repeats to the bit
    ray: str | None = None  # address of the Ray cluster of collectors: auto, HOST:6379; null: this machine
    env_workers: bool | None = None  # one process per environment; null: if several, module:..., or a timeout
    step_timeout_s: Timeout | None = None  # restart an environment whose step takes longer
    max_faults: Count0 = 10  # restarts of failed environments before the run ends
    seed: Seed = 0  # determines all random numbers
    restarts: Count = 1  # random initialisations, of which the best is kept
    device: str = "auto"  # cpu, cuda, mps, or auto: cuda if available
    num_threads: Threads | None = None  # of torch on the CPU; null: adapts to the free cores
    runs: PathName = "runs"  # folder that holds all runs
    track: TrackerName | None = None  # tracker that also gets the rows; null: TensorBoard, if installed
    report_every_steps: Count = 1_000  # steps between rows of metrics.jsonl
    evaluate_every_steps: Count0 = 0  # steps between evaluations during training; 0: none
    evaluate_episodes: Count = 5  # greedy episodes per evaluation; the best checkpoint is kept, too
    evaluate_each_modality: bool = False  # also evaluate with video alone and with audio alone
    checkpoint_every_steps: Count = 10_000  # steps between checkpoints; sooner if the memory needs it
    checkpoint_every_minutes: Positive = 10.0  # minutes between checkpoints, at most
    save_memory: bool = True  # save the memory with each checkpoint, so that a resumed run has it

    def __post_init__(self) -> None:
        check_fields(self)
        history, ahead = self.memory.history, self.agent.longest_n_step
        if self.memory.capacity < (least := self.num_rings * (history + max(history, ahead + 1))):
            collected = f", collectors={self.collectors}" if self.collectors else ""
            raise ValueError(
                f"memory.capacity must be at least {least} with memory.history={history}, n_step={ahead}, "
                f"num_envs={self.num_envs}{collected}, got {self.memory.capacity}"
            )
        if self.step_timeout_s is not None and self.env_workers is False:
            raise ValueError("step_timeout_s needs environments in processes of their own: env_workers=true")
        idle = self.evaluate_episodes != TrainAgentConfig.evaluate_episodes or self.evaluate_each_modality
        if idle and not self.evaluate_every_steps:
            raise ValueError("evaluate options need evaluate_every_steps: say how often it is evaluated")
        self._check_pretraining()
        check_two_streams(self)
        check_collectors(self)

    def _check_pretraining(self) -> None:
        if self.pretrain_steps and self.pretrained.run is not None:
            raise ValueError(
                f"pretrain_steps ({self.pretrain_steps}) and pretrained.run ({self.pretrained.run}) both "
                "give an encoder: choose one"
            )
        if not self.pretrain_steps and self.pretrained.run is None and self.pretrained != PretrainedConfig():
            raise ValueError(
                "pretrained options need an encoder: give pretrained.run a run of spl pretrain autoencoder, "
                "or pretrain_steps"
            )
        for name, unused in (("reconstruction", 0.0), ("sparsity", "none")):
            value = getattr(self.agent, name)
            if self.pretrained.mode == "frozen" and value != unused:
                raise ValueError(
                    f"agent.{name} {value} would teach a frozen encoder nothing: leave it out, or set "
                    "--pretrained.mode fine-tune"
                )
        if not self.pretrain_steps and self.pretrain != PretrainingConfig():
            raise ValueError("pretrain options need pretrain_steps: say how many random steps are recorded")
        self.pretrain.objective.check_code(self.encoder)

    @property
    def is_several(self) -> bool:
        """Whether it describes several trainings, or a measurement, whose options collectors are none of."""
        return "collectors" in getattr(self, "unlisted", ())

    @property
    def num_rings(self) -> int:
        """Environments in all, each of which has a ring of the memory."""
        return max(1, self.collectors) * self.num_envs

    @property
    def is_apart(self) -> bool:
        """Whether each environment has a process of its own."""
        if self.env_workers is None:
            return self.num_envs > 1 or self.step_timeout_s is not None or may_crash(self.env.id)
        return self.env_workers


def build_agent(
    config: TrainAgentConfig, spec: StreamSpec, sizes: Sizes, device: torch.device
) -> MultimodalDqn:
    """Return the agent of ``config``; its weights are drawn from the seed, whatever was drawn before.

    Raises:
        UsageError: on a device that cannot normalise a state, or if a layer of the user's own cannot compute
            in the precision asked for.
    """
    if device.type == "mps" and spec.state:
        raise UsageError(
            "a state is normalised in double precision, which mps has not: choose --device cpu, or leave the "
            "state out with --env.state_keys none"
        )
    layout = torch.contiguous_format if device.type == "cpu" else torch.channels_last
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        network, target = (build_network(config, spec, sizes).to(memory_format=layout) for _ in range(2))
        decoders = Decoders(network.encoder) if config.agent.has_decoders(spec) else None
    companions = Companions(decoders)
    if config.agent.has_augmentation:
        augmentation = Augmentation(config.agent, spec, generator_of(config.seed, "augmentation"))
        companions = companions._replace(augmentation=augmentation)
    if config.agent.reset_every_updates:
        companions = companions._replace(redraw=partial(redrawn, config, spec, sizes))
    if config.agent.kind_of_head == "implicit":
        assert config.agent.num_quantiles is not None
        fractions = Fractions(config.agent.num_quantiles, generator_of(config.seed, "fractions"))
        companions = companions._replace(fractions=fractions)
    if own_classes(config):
        check_own_layers(network, config.agent.precision)
        companions = companions._replace(own_seed=config.seed)
    generator = generator_of(config.seed, "exploration")
    return MultimodalDqn(network, target, config.agent, generator, device, companions)


def redrawn(config: TrainAgentConfig, spec: StreamSpec, sizes: Sizes, update: int) -> MultimodalQNetwork:
    """Return a network for the reset at an update; its weights follow from the seed and the update."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(generator_of(config.seed, f"reset {update}").integers(2**63)))
        return build_network(config, spec, sizes)


def build_network(config: TrainAgentConfig, spec: StreamSpec, sizes: Sizes) -> MultimodalQNetwork:
    """Return the network of ``config``, its weights drawn from torch's generator.

    Raises:
        ValueError: if such a network cannot be built.
    """
    encoder = encoder_of(config.encoder, spec, history=config.memory.history)
    if config.pretrained.mode == "frozen":
        encoder.requires_grad_(False)  # and in evaluation mode, so that nothing of it moves
    return MultimodalQNetwork(
        encoder,
        sizes,
        dueling=config.agent.dueling,
        fusion=config.agent.fusion,
        has_thirds=config.agent.no_thirds(spec) is None,
        make_head=maker_of(config.agent.own_head),
        quantiles=config.agent.num_quantiles,
        is_implicit=config.agent.kind_of_head == "implicit",
        risk=config.agent.risk,
        num_state=spec.state,
        state_features=config.agent.state_features,
        is_recurrent=config.agent.is_recurrent,
    )


def create_run(config: TrainAgentConfig, streams: dict[str, Any], command: list[str]) -> Path:
    """Make ``runs/agent/<env>-s<seed>-<time>`` with ``config.yaml``, ``command.txt`` and ``env.json``.

    ``streams`` are what was chosen of the environment, ``command`` is what started the run.

    Raises:
        UsageError: if the folder cannot be written; none is left behind then.
    """
    name = f"{config.env.id.split('/')[-1]}-s{config.seed}"
    return described_run(Path(config.runs) / "agent", name, config, command, {"env": streams})


def read_run(folder: Path) -> TrainAgentConfig:
    """Return the configuration of the run in ``folder``.

    Raises:
        UsageError: if it is not the folder of an agent's run.
    """
    return runs.read_run(TrainAgentConfig, folder, RUNS)


def kept_run(folder: Path) -> tuple[Path, TrainAgentConfig]:
    """Return a run and its configuration; of a run with restarts, the one that was kept.

    Raises:
        UsageError: as `read_run`, or if its restarts are not all trained.
    """
    return runs.kept_run(TrainAgentConfig, folder, RUNS, RESTARTS)


def slack_of(config: TrainAgentConfig) -> int:
    """Return the observations per environment kept beyond the capacity: the last checkpoint's stay whole."""
    is_saved = config.save_memory or config.memory.on_disk
    return max(64, config.memory.capacity // config.num_rings // 25) if is_saved else 0


MAY_CHANGE = (
    "num_steps",
    "memory.on_device",
    "env_workers",
    "step_timeout_s",
    "max_faults",
    "report_every_steps",
    "evaluate_every_steps",
    "evaluate_episodes",
    "evaluate_each_modality",
    "checkpoint_every_steps",
    "checkpoint_every_minutes",
    "num_threads",
    "device",
    "ray",
    "runs",
    "track",
)
