"""How a run begins or resumes: its environments, memory and components."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from spl.agents.checkpoint import Parts, as_saved_now
from spl.agents.collectors.crew import Crew
from spl.agents.collectors.intake import Collectors
from spl.agents.collectors.progress import Progress
from spl.agents.config import TrainAgentConfig, build_agent, create_run, read_run, slack_of
from spl.agents.curriculum import ReplayCurriculum
from spl.agents.dqn import MultimodalDqn
from spl.agents.encoder_init import PRETRAINING, load_encoder
from spl.agents.env_signature import check_environment, read_environment
from spl.agents.estimates import check_copy, check_network, check_ram
from spl.agents.loop import Collector
from spl.agents.player import new_collector, start
from spl.agents.q_network.heads import HEADS
from spl.agents.replay.memory import ReplayMemory
from spl.agents.throughput import Meter
from spl.config.errors import UsageError
from spl.data.recordings import describe_signature
from spl.envs.range_probe import measured
from spl.envs.vector import Fault, VectorisedEnv
from spl.models.encoder import CODE
from spl.runs import checkpoint
from spl.runs.directory import describe_run, generator_of, pick_device
from spl.runs.state import check_fits
from spl.training.loop import resuming


def open_envs(
    config: TrainAgentConfig, resume: Path | None
) -> tuple[TrainAgentConfig, VectorisedEnv, list[str]]:
    """Return the run's options, its environments, and what was assumed of their streams.

    What the spaces leave open is measured before a run begins; one to ``resume`` has it in its options.

    Raises:
        UsageError: if the environment does not serve.
        RunError: if it dies while it is measured.
    """
    envs = make_envs(config)
    if not envs.doubts:
        return config, envs, []
    assumed: list[str] = []
    if is_fresh(resume):
        try:
            env, assumed = measured(config.env, is_apart=config.is_apart)
        except Exception:
            envs.close()
            raise
    else:
        assert resume is not None
        before = read_run(resume).env
        env = replace(config.env, **{name: getattr(before, name) for name in envs.doubts})
    if env == config.env:
        return config, envs, assumed
    envs.close()
    config = replace(config, env=env)
    return config, make_envs(config), assumed


def make_envs(config: TrainAgentConfig) -> VectorisedEnv:
    """Return the environments of a run; of one with collectors, which have their own, a single one."""
    return VectorisedEnv(
        config.env,
        num_envs=1 if config.collectors else config.num_envs,
        seed=config.seed,
        is_apart=config.is_apart,
        timeout_s=config.step_timeout_s,
    )


def assemble(
    config: TrainAgentConfig,
    agent: MultimodalDqn,
    envs: VectorisedEnv,
    memory: ReplayMemory,
    crew: Crew | None = None,
) -> Parts:
    """Return the parts of a fresh run; every generator follows from the seed. A ``crew`` collects, if any."""
    if config.memory.on_device:
        memory.mirror_on(agent.device)
    optimizer = torch.optim.Adam(
        groups_of(config, agent),
        lr=config.agent.learning_rate,
        eps=config.agent.adam_epsilon,
        fused=agent.device.type in ("cpu", "cuda"),
    )
    progress = Progress()
    collector: Collector | Collectors
    if crew is None:
        draws, epsilon_at = generator_of(config.seed, "dropout"), config.agent.epsilon_at
        collector = new_collector(config, agent, envs, memory, progress, draws, epsilon_at, see=agent.see)
    else:
        collector = Collectors(crew, agent, envs, memory, progress)
    curriculum = ReplayCurriculum(
        config.curriculum,
        agent,
        memory,
        generator_of(config.seed, "replay"),
        num_steps=config.num_steps,
        huber=config.agent.huber,
        quantiles=config.agent.num_quantiles,
    )
    return Parts(agent, optimizer, memory, progress, collector, curriculum, Meter())


def groups_of(config: TrainAgentConfig, agent: MultimodalDqn) -> list[dict[str, Any]]:
    """Return what the optimizer learns: the encoder apart where it has a rate of its own, unless frozen."""
    rate = config.pretrained.learning_rate
    decoders = [] if agent.decoders is None else list(agent.decoders.parameters())
    if rate is None:
        learned = [weight for weight in agent.network.parameters() if weight.requires_grad]
        return [{"params": learned + decoders}]
    return [
        {"params": list(agent.network.encoder.parameters()), "lr": rate},
        {"params": agent.network.parameters_of_heads() + decoders},
    ]


def new_memory(
    config: TrainAgentConfig, envs: VectorisedEnv, agent: MultimodalDqn, folder: Path
) -> ReplayMemory:
    """Return an empty memory, in RAM or in ``folder``; with the state of an agent that is recurrent."""
    memory = ReplayMemory(
        envs.spec_of_streams._replace(recurrent=agent.network.num_remembered),
        config.memory.capacity,
        num_envs=config.num_rings,
        num_dimensions=len(envs.action_sizes),
        history=config.memory.history,
        n_step=config.agent.longest_n_step,
        gamma=config.agent.gamma,
        folder=folder if config.memory.on_disk else None,
        slack=slack_of(config),
    )
    memory.meta = dict(envs.streams)
    return memory


def saved_memory(config: TrainAgentConfig, folder: Path, *, mmap: bool, writable: bool) -> ReplayMemory:
    """Return the memory that the run in ``folder`` saved.

    Raises:
        ValueError: if it cannot be read.
    """
    return ReplayMemory.load(
        folder / "memory",
        history=config.memory.history,
        n_step=config.agent.longest_n_step,
        gamma=config.agent.gamma,
        capacity=config.memory.capacity,
        mmap=mmap,
        writable=writable,
    )


def restore(
    config: TrainAgentConfig, envs: VectorisedEnv, agent: MultimodalDqn, folder: Path, crew: Crew | None
) -> tuple[Parts, list[Fault]]:
    """Return the parts as the last checkpoint of ``folder`` left them, and what went wrong on the way.

    Raises:
        UsageError: if checkpoint or memory cannot be read, or the environment is another one.
    """
    with resuming(folder):
        check_environment(read_environment(folder), envs.streams, folder)
        state = checkpoint.load(folder / "checkpoints")
        if (folder / "memory").is_dir():
            on_disk = config.memory.on_disk
            memory = saved_memory(config, folder, mmap=on_disk, writable=on_disk)
            check_environment(memory.meta, envs.streams, folder / "memory")
            memory.load_state_dict(state["memory"])
        else:
            memory = new_memory(config, envs, agent, folder / "memory")
        parts = assemble(config, agent, envs, memory, crew)
        state = as_saved_now(state, agent)
        check_fits(state, parts.state_dict(), "checkpoint")
        return parts, parts.load_state_dict(state)


def begin(
    config: TrainAgentConfig,
    envs: VectorisedEnv,
    agent: MultimodalDqn,
    folder: Path | None,
    command: list[str],
    crew: Crew | None,
) -> tuple[Path, Parts]:
    """Return folder and parts of a run that begins: in a new folder, or in one that was never saved into.

    Raises:
        UsageError: if the folder cannot be written, or no lives are told; none is left behind then.
        RunError: if an environment cannot be reset; likewise.
    """
    begun = start(config, envs, has_crew=crew is not None)
    if folder is None:
        path = create_run(config, envs.streams, command)
    else:
        path = folder
        shutil.rmtree(path / "memory", ignore_errors=True)
        describe_run(path, config, command, {"env": envs.streams})
    try:
        memory = new_memory(config, envs, agent, path / "memory")
    except OSError:
        if folder is None:
            shutil.rmtree(path)
        raise
    parts = assemble(config, agent, envs, memory, crew)
    parts.collector.begin(begun)
    return path, parts


def is_fresh(folder: Path | None) -> bool:
    """Whether a run is yet to begin: it has no folder, or was never saved there."""
    return folder is None or checkpoint.latest(folder / "checkpoints") is None


def new_agent(config: TrainAgentConfig, envs: VectorisedEnv) -> MultimodalDqn:
    """Return an agent for the environments, after looking at what there is to run it on.

    Raises:
        UsageError: if memory, device or network do not serve.
    """
    remembered = config.encoder.features if config.agent.is_recurrent else 0
    check_ram(config, envs.spec_of_streams._replace(recurrent=remembered))
    try:
        check_network(config, envs.spec_of_streams, envs.action_sizes)
        config.curriculum.check_modalities(envs.spec_of_streams)
        config.agent.check_dropout(envs.spec_of_streams)
        config.curriculum.check_sequences(config.agent.recurrent)
        config.curriculum.check_views(config.agent.no_thirds(envs.spec_of_streams))
        device = pick_device(config.device)
        check_copy(config, envs.spec_of_streams, device)
        return build_agent(config, envs.spec_of_streams, envs.action_sizes, device)
    except ValueError as error:
        raise UsageError(str(error)) from error


def pretrained_encoder(
    config: TrainAgentConfig, envs: VectorisedEnv, folder: Path | None
) -> dict[str, Tensor]:
    """Return the weights that the encoder of a run that begins in ``folder`` begins with; none: drawn ones.

    Raises:
        UsageError: if they are not there, or do not fit the environments.
    """
    run = config.pretrained.run
    if config.pretrain_steps and folder is not None:
        run = str(folder / PRETRAINING)
    if run is None:
        return {}
    signature = describe_signature(envs.spec_of_streams, envs.streams, history=config.memory.history)
    weights = load_encoder(Path(run), signature, config.env.id)
    unread = () if HEADS[config.agent.fusion].reads_code else CODE
    return {name: weight for name, weight in weights.items() if name not in unread}


def prepare(
    config: TrainAgentConfig,
    envs: VectorisedEnv,
    resume: Path | None,
    command: list[str],
    crew: Crew | None = None,
) -> tuple[Path, Parts, list[Fault]]:
    """Return the run's folder and its parts, fresh or as the run to ``resume`` left them.

    Raises:
        UsageError: if memory, device, network or folder do not serve; no folder is left behind then.
        RunError: if an environment cannot be reset; likewise.
    """
    if is_fresh(resume):
        weights = pretrained_encoder(config, envs, resume)
        agent = new_agent(config, envs)
        try:
            if weights:
                check_fits(weights, agent.network.encoder.state_dict(), "the run's encoder")
                agent.begin_from(weights)
            return *begin(config, envs, agent, resume, command, crew), []
        except ValueError as error:
            raise UsageError(str(error)) from error
    assert resume is not None
    agent = new_agent(config, envs)
    parts, faults = restore(config, envs, agent, resume, crew)
    if (taken := parts.progress.step) >= config.num_steps + config.num_envs:  # they step together
        raise UsageError(
            f"num_steps must be more than the {taken:,} steps that {resume} has already, "
            f"got {config.num_steps:,}"
        )
    describe_run(resume, config, command, {"env": envs.streams})
    return resume, parts, faults
