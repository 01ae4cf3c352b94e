"""``spl train agent``: a run from its first step to its last, saved and resumed."""

import itertools
import math
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from rich.console import Console

from spl import checkpoint
from spl.agents.exploration import ModalityDropout
from spl.agents.loop import Progress, collect, learn
from spl.agents.memory import ReplayMemory
from spl.agents.multimodal_dqn import MultimodalDqn
from spl.agents.parts import Parts, StopSignals, Watch, told_streams
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
from spl.config import UsageError
from spl.curriculum import CURRICULA
from spl.envs.adapter import AudioVisualEnv
from spl.envs.catalog import make_env
from spl.report import Report


class Result(NamedTuple):
    """How a run ended."""

    folder: Path
    step: int
    is_finished: bool  # False: it was told to stop, and can be resumed
    mean_return: float  # over the last episodes; NaN where none ended


def build_dropout(config: TrainAgentConfig) -> ModalityDropout:
    """Return what takes senses away while collecting."""
    return ModalityDropout(
        config.agent.modality_dropout,
        config.agent.modality_dropout_steps,
        generator_of(config.seed, "dropout"),
    )


def assemble(
    config: TrainAgentConfig, agent: MultimodalDqn, dropout: ModalityDropout, memory: ReplayMemory
) -> Parts:
    """Return the parts of a fresh run; every generator follows from the seed."""
    optimizer = torch.optim.Adam(
        agent.network.parameters(),
        lr=config.agent.learning_rate,
        eps=config.agent.adam_epsilon,
        fused=agent.device.type in ("cpu", "cuda"),
    )
    return Parts(agent, optimizer, memory, Progress(), dropout, generator_of(config.seed, "replay"))


def new_memory(config: TrainAgentConfig, env: AudioVisualEnv, folder: Path) -> ReplayMemory:
    """Return an empty memory, in RAM or in the run's folder."""
    memory = ReplayMemory(
        env.spec_of_streams,
        config.memory.capacity,
        history=config.memory.history,
        n_step=config.agent.n_step,
        gamma=config.agent.gamma,
        folder=folder / "memory" if config.memory.on_disk else None,
        slack=slack_of(config),
    )
    memory.meta = env.describe()
    return memory


def restore(config: TrainAgentConfig, env: AudioVisualEnv, agent: MultimodalDqn, folder: Path) -> Parts:
    """Return the parts as the last checkpoint of ``folder`` left them.

    Raises:
        UsageError: if there is none, or it or the memory cannot be read.
    """
    try:
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
            memory.load_state_dict(state["memory"])
        else:
            memory = new_memory(config, env, folder)
        parts = assemble(config, agent, build_dropout(config), memory)
        parts.agent.load_state_dict(state["agent"])
        parts.optimizer.load_state_dict(state["optimizer"])
        parts.progress.load_state_dict(state["progress"])
        parts.dropout.load_state_dict(state["dropout"])
        parts.generator.bit_generator.state = state["generator"]
    except (ValueError, KeyError, RuntimeError) as error:
        raise UsageError(f"the run in {folder} cannot be resumed: {error}") from error
    return parts


def prepare(
    config: TrainAgentConfig, env: AudioVisualEnv, resume: Path | None, command: list[str]
) -> tuple[Path, Parts]:
    """Return the run's folder and its parts, fresh or as the run to ``resume`` left them.

    Raises:
        UsageError: if memory, device, network or folder do not serve; no folder is left behind then.
    """
    check_ram(config, env.spec_of_streams)
    try:
        device = pick_device(config.device)
        agent = build_agent(config, env.spec_of_streams, env.num_actions, device)
        if resume is not None:
            parts = restore(config, env, agent, resume)
            describe_run(resume, config, env, command)
            return resume, parts
        dropout = build_dropout(config)  # refuses before there is a folder
        folder = create_run(config, env, command)
        return folder, assemble(config, agent, dropout, new_memory(config, env, folder))
    except ValueError as error:
        raise UsageError(str(error)) from error


def train_agent(
    config: TrainAgentConfig,
    *,
    resume: Path | None = None,
    command: list[str] | None = None,
    console: Console | None = None,
) -> Result:
    """Train an agent as ``config`` says, in a new run folder or on from the one to ``resume``.

    Whatever ends the run early, a signal or an error of the environment, it is saved first.

    Raises:
        UsageError: if the environment, the memory or the folder does not serve; nothing was started then.
    """
    if config.num_threads is None:  # written into the run's config.yaml: sums depend on it in the last bit
        config = replace(config, num_threads=free_cores())
    torch.set_num_threads(config.num_threads or 1)
    torch.set_flush_denormal(True)
    env = make_env(config.env)
    folder, parts = prepare(config, env, resume, sys.argv if command is None else command)
    title = f"spl train agent · {config.env.id} · seed {config.seed}"
    first_step = parts.progress.step
    report = Report(folder, title, config.num_steps, first_step=first_step, console=console)
    watch = Watch(config, parts, folder, report, StopSignals())
    try:
        with report, watch.stop:
            say_hello(config, parts, env, folder, report)
            try:
                run_phases(config, parts, env, watch)
            finally:
                watch.finish()
    finally:
        report.say(closing_words(config, watch))
    env.close()
    mean_return = float(parts.progress.returns.mean()) if parts.progress.recent else math.nan
    return Result(folder, parts.progress.step, parts.progress.step >= config.num_steps, mean_return)


def say_hello(
    config: TrainAgentConfig, parts: Parts, env: AudioVisualEnv, folder: Path, report: Report
) -> None:
    """Say where the run lies and what was chosen for it."""
    num_parameters = sum(parameter.numel() for parameter in parts.agent.network.parameters())
    report.say(f"run        {folder}")
    report.say(f"streams    {told_streams(env)}")
    report.say(f"network    {num_parameters:,} parameters on {parts.agent.device}")
    report.say(f"threads    {config.num_threads} (--num_threads)")
    if parts.progress.step and not parts.memory.written[0]:
        report.say(f"memory     was not saved: {config.memory.min_size:,} transitions come before learning")


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


def run_phases(config: TrainAgentConfig, parts: Parts, env: AudioVisualEnv, watch: Watch) -> None:
    """Alternate collecting and learning until the last step or a signal."""
    transitions = collect(
        parts.agent,
        env,
        parts.memory,
        parts.progress,
        epsilon_at=watch.epsilon_at,
        dropout=parts.dropout,
        keep_reward=config.agent.kept_reward,
        seed=config.seed,
    )
    while (left := config.num_steps - parts.progress.step) > 0:
        for _ in itertools.islice(transitions, min(config.loop.collect_steps, left)):
            watch.after_step()
            if watch.stop.has_come():
                return
        if len(parts.memory) < config.memory.min_size:
            continue
        for loss in learn(
            parts.agent,
            parts.memory,
            parts.optimizer,
            config.loop,
            curriculum=CURRICULA[config.curriculum],
            generator=parts.generator,
            max_grad_norm=config.agent.max_grad_norm,
        ):
            watch.after_update(loss)
            if watch.stop.has_come():
                return
