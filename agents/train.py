"""``spl train agent``: a run from its first step to its last, saved and resumed."""

import contextlib
import math
import shlex
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from rich.console import Console
from torch import Tensor

from spl import checkpoint
from spl.agents.described import check_environment, read_environment
from spl.agents.exploration import ModalityDropout
from spl.agents.loop import Collector, NonFiniteBatch, Progress, learn
from spl.agents.memory import ReplayMemory
from spl.agents.multimodal_dqn import MultimodalDqn
from spl.agents.parts import Meter, Parts, StopSignals, Watch, told_streams
from spl.agents.run import (
    TrainAgentConfig,
    build_agent,
    check_ram,
    create_run,
    describe_run,
    free_cores,
    generator_of,
    pick_device,
    slack_of,
)
from spl.config import RunError, UsageError
from spl.curriculum import CURRICULA
from spl.envs.fleet import Fault, Fleet
from spl.files import hold
from spl.records import StreamSpec
from spl.report import Report
from spl.state import check_fits


class Result(NamedTuple):
    """How a run ended."""

    folder: Path
    step: int
    is_finished: bool  # False: it was told to stop, and can be resumed
    mean_return: float  # over the last episodes; NaN where none ended


def make_fleet(config: TrainAgentConfig) -> Fleet:
    """Return the environments of a run."""
    return Fleet(
        config.env,
        num_envs=config.num_envs,
        seed=config.seed,
        is_apart=config.is_apart,
        timeout_s=config.step_timeout_s,
    )


def assemble(config: TrainAgentConfig, agent: MultimodalDqn, fleet: Fleet, memory: ReplayMemory) -> Parts:
    """Return the parts of a fresh run; every generator follows from the seed."""
    if config.memory.on_device:
        memory.mirror_on(agent.device)
    optimizer = torch.optim.Adam(
        agent.network.parameters(),
        lr=config.agent.learning_rate,
        eps=config.agent.adam_epsilon,
        fused=agent.device.type in ("cpu", "cuda"),
    )
    dropout = ModalityDropout(
        config.agent.modality_dropout,
        config.agent.modality_dropout_steps,
        generator_of(config.seed, "dropout"),
        num_envs=config.num_envs,
    )
    progress = Progress()
    collector = Collector(
        agent,
        fleet,
        memory,
        progress,
        epsilon_at=config.agent.epsilon_at,
        dropout=dropout,
        keep_reward=config.agent.kept_reward,
    )
    return Parts(agent, optimizer, memory, progress, collector, generator_of(config.seed, "replay"), Meter())


def new_memory(
    config: TrainAgentConfig, spec: StreamSpec, streams: dict[str, Any], folder: Path
) -> ReplayMemory:
    """Return an empty memory, in RAM or in ``folder``."""
    memory = ReplayMemory(
        spec,
        config.memory.capacity,
        num_envs=config.num_envs,
        history=config.memory.history,
        n_step=config.agent.n_step,
        gamma=config.agent.gamma,
        folder=folder if config.memory.on_disk else None,
        slack=slack_of(config),
    )
    memory.meta = streams
    return memory


def restore(
    config: TrainAgentConfig, fleet: Fleet, agent: MultimodalDqn, folder: Path
) -> tuple[Parts, list[Fault]]:
    """Return the parts as the last checkpoint of ``folder`` left them, and what went wrong on the way.

    Raises:
        UsageError: if checkpoint or memory cannot be read, or the environment is another one.
    """
    streams = fleet.describe()
    try:
        check_environment(read_environment(folder), streams, folder)
        state = checkpoint.load(folder / "checkpoints")
        if (folder / "memory").is_dir():
            memory = ReplayMemory.load(
                folder / "memory",
                history=config.memory.history,
                n_step=config.agent.n_step,
                gamma=config.agent.gamma,
                capacity=config.memory.capacity,
                mmap=config.memory.on_disk,
                writable=config.memory.on_disk,
            )
            check_environment(memory.meta, streams, folder / "memory")
            memory.load_state_dict(state["memory"])
        else:
            memory = new_memory(config, fleet.spec_of_streams, streams, folder / "memory")
        parts = assemble(config, agent, fleet, memory)
        check_fits(state, parts.state_dict(), "checkpoint")
        return parts, parts.load_state_dict(state)
    except (ValueError, KeyError, RuntimeError) as error:
        raise UsageError(f"the run in {folder} cannot be resumed: {error}") from error


def begin(
    config: TrainAgentConfig, fleet: Fleet, agent: MultimodalDqn, folder: Path | None, command: list[str]
) -> tuple[Path, Parts]:
    """Return folder and parts of a run that begins: in a new folder, or in one that was never saved into.

    Raises:
        UsageError: if the folder cannot be written; none is left behind then.
        RunError: if an environment cannot be reset; likewise.
    """
    streams = fleet.describe()  # before the first sound, which may tell more of it
    begun = fleet.start().begun
    if folder is None:
        path = create_run(config, streams, command)
    else:
        path = folder
        shutil.rmtree(path / "memory", ignore_errors=True)
        describe_run(path, config, streams, command)
    try:
        memory = new_memory(config, fleet.spec_of_streams, streams, path / "memory")
    except OSError:
        if folder is None:
            shutil.rmtree(path)
        raise
    parts = assemble(config, agent, fleet, memory)
    parts.collector.begin(begun)
    return path, parts


def prepare(
    config: TrainAgentConfig, fleet: Fleet, resume: Path | None, command: list[str]
) -> tuple[Path, Parts, list[Fault]]:
    """Return the run's folder and its parts, fresh or as the run to ``resume`` left them.

    Raises:
        UsageError: if memory, device, network or folder do not serve; no folder is left behind then.
        RunError: if an environment cannot be reset; likewise.
    """
    check_ram(config, fleet.spec_of_streams)
    try:
        device = pick_device(config.device)
        agent = build_agent(config, fleet.spec_of_streams, fleet.num_actions, device)
        if resume is None or checkpoint.latest(resume / "checkpoints") is None:
            return *begin(config, fleet, agent, resume, command), []
    except ValueError as error:
        raise UsageError(str(error)) from error
    streams = fleet.describe()
    parts, faults = restore(config, fleet, agent, resume)
    describe_run(resume, config, streams, command)
    return resume, parts, faults


def train_agent(
    config: TrainAgentConfig,
    *,
    resume: Path | None = None,
    command: list[str] | None = None,
    console: Console | None = None,
) -> Result:
    """Train an agent as ``config`` says, in a new run folder or on from the one to ``resume``.

    Whatever ends the run early, a signal or an error, it is saved first.

    Raises:
        UsageError: if the environment, the memory or the folder does not serve; nothing was started then.
        RunError: if the environments fail too often, or a loss is not finite.
    """
    if config.num_threads is None:  # written into the run's config.yaml: sums depend on it in the last bit
        config = replace(config, num_threads=free_cores())
    torch.set_num_threads(config.num_threads or 1)
    torch.set_flush_denormal(True)
    with contextlib.ExitStack() as held:
        if resume is not None:
            held.enter_context(hold(resume))
        fleet = held.enter_context(contextlib.closing(make_fleet(config)))
        folder, parts, faults = prepare(config, fleet, resume, sys.argv if command is None else command)
        if resume is None:
            held.enter_context(hold(folder))
        title = f"spl train agent · {config.env.id} · seed {config.seed}"
        first_step = parts.progress.step
        report = Report(folder, title, config.num_steps, first_step=first_step, console=console)
        watch = Watch(config, parts, folder, report, StopSignals())
        try:
            with report, watch.stop:
                say_hello(config, parts, watch)
                for fault in faults:
                    watch.tell(fault)
                try:
                    run_phases(config, parts, watch)
                finally:
                    watch.finish()
        finally:
            report.say(closing_words(config, watch))
    mean_return = float(parts.progress.returns.mean()) if parts.progress.recent else math.nan
    return Result(folder, parts.progress.step, parts.progress.step >= config.num_steps, mean_return)


def say_hello(config: TrainAgentConfig, parts: Parts, watch: Watch) -> None:
    """Say where the run lies and what was chosen for it."""
    num_parameters = sum(parameter.numel() for parameter in parts.agent.network.parameters())
    fleet, say = parts.collector.fleet, watch.report.say
    say(f"run        {watch.folder}")
    say(f"streams    {told_streams(fleet.spec_of_streams, fleet.describe())}")
    if fleet.num_envs > 1 or fleet.is_apart:
        say(f"envs       {fleet.num_envs}" + (", each in a process of its own" if fleet.is_apart else ""))
    say(f"network    {num_parameters:,} parameters on {parts.agent.device}")
    say(f"threads    {config.num_threads} (--num_threads)")
    if parts.progress.step and not len(parts.memory):
        say(f"memory     was not saved: {config.memory.min_size:,} transitions come before learning")


def closing_words(config: TrainAgentConfig, watch: Watch) -> str:
    """Return what to do next: evaluate a run that came to its end, go on with another."""
    step, path = watch.parts.progress.step, shlex.quote(str(watch.folder))
    if watch.saved_step != step:
        return (
            f"stopped at step {step:,}, which could not be saved (the last save is of step "
            f"{watch.saved_step:,}); make room, then: spl train agent --resume {path}"
        )
    if step >= config.num_steps:
        return f"finished; evaluate with: spl evaluate agent {path}"
    return f"stopped and saved at step {step:,}; go on with: spl train agent --resume {path}"


def run_phases(config: TrainAgentConfig, parts: Parts, watch: Watch) -> None:
    """Alternate collecting and learning until the last step or a signal.

    Raises:
        RunError: if environments fail too often, or a loss is not finite.
    """
    while not watch.stop.has_come():
        for loss in learn_what_is_due(config, parts, watch):
            watch.after_update(loss)
            if watch.stop.has_come():
                return
        if (before := parts.progress.step) >= config.num_steps:
            return
        collected = parts.collector.step()
        if len(parts.memory) >= config.memory.min_size:
            phases = parts.progress.step // config.loop.collect_steps - before // config.loop.collect_steps
            parts.progress.replays_due += phases * config.loop.replays
        watch.after_step(collected)


def learn_what_is_due(config: TrainAgentConfig, parts: Parts, watch: Watch) -> Iterator[Tensor]:
    """Yield the loss of each update of this phase.

    Raises:
        RunError: if a loss is not finite; its batch is set aside.
    """
    try:
        yield from learn(
            parts.agent,
            parts.memory,
            parts.optimizer,
            parts.progress,
            config.loop,
            curriculum=CURRICULA[config.curriculum],
            generator=parts.generator,
            max_grad_norm=config.agent.max_grad_norm,
        )
    except NonFiniteBatch as error:
        raise RunError(
            f"update {parts.agent.num_updates + 1} was not taken: {error.__cause__}; its batch lies in "
            f"{watch.set_aside(error)}; a smaller --agent.learning_rate or --agent.reward_scale may help"
        ) from error
