"""``spl train agent``: a run from its first step to its last, saved and resumed."""

import contextlib
import math
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from rich.console import Console
from torch import Tensor

from spl.agents.estimates import check_envs
from spl.agents.loop import NonFiniteBatch, learn
from spl.agents.memory import ReplayMemory
from spl.agents.parts import Parts, Watch, told_left_out, told_streams
from spl.agents.pretrained import PRETRAINING, adopt_encoder
from spl.agents.pretraining import open_run, pretrain
from spl.agents.run import TrainAgentConfig
from spl.agents.start import is_fresh, open_fleet, prepare
from spl.config import RunError
from spl.envs.fleet import Fault
from spl.files import hold
from spl.report import Report, say
from spl.signals import StopSignals
from spl.threads import Threads


class Result(NamedTuple):
    """How a run ended."""

    folder: Path
    step: int
    is_finished: bool  # False: it was told to stop, and can be resumed
    mean_return: float  # over the last episodes; NaN where none ended


def train_agent(
    config: TrainAgentConfig,
    *,
    resume: Path | None = None,
    command: list[str] | None = None,
    console: Console | None = None,
    go_on_with: str | None = None,
) -> Result:
    """Train an agent as ``config`` says, in a new run folder or on from the one to ``resume``.

    Whatever ends the run early, a signal or an error, it is saved first. ``go_on_with`` is the command that a
    stopped run names; None resumes its folder alone.

    Raises:
        UsageError: if the environment, the memory or the folder does not serve; nothing was started then.
        RunError: if the environments fail too often, or a loss is not finite.
    """
    threads = Threads(config.num_threads)
    torch.set_flush_denormal(True)
    command = sys.argv if command is None else command
    config = adopt_encoder(config) if resume is None else config
    with contextlib.ExitStack() as held:
        if resume is not None:
            held.enter_context(hold(resume))
        many = check_envs(config.num_envs, is_apart=config.is_apart, option="--num_envs")
        if many is not None:
            say(Console(stderr=True) if console is None else console, many)
        config, fleet, assumed = open_fleet(config, resume)
        held.enter_context(contextlib.closing(fleet))
        folder = resume
        if config.pretrain_steps and is_fresh(resume):
            folder = open_run(config, fleet, resume, command)
            if resume is None:
                held.enter_context(hold(folder))
            again = go_on_with or resuming(folder)
            if not pretrain(config, fleet, folder, command, console, again):
                return stopped_before(folder, console, again)
            command = []  # it stands in the folder already
        folder, parts, faults = prepare(config, fleet, folder, command)
        if resume is None and not config.pretrain_steps:
            held.enter_context(hold(folder))
        first_step = parts.progress.step
        title = f"spl train agent · {config.env.id} · seed {config.seed}"
        report = Report(folder, title, config.num_steps, first_step=first_step, console=console)
        watch = Watch(config, parts, folder, report, StopSignals(), threads)
        go(config, parts, watch, faults, go_on_with or resuming(folder), assumed)
    mean_return = float(parts.progress.returns.mean()) if parts.progress.recent else math.nan
    return Result(folder, parts.progress.step, is_finished(config, parts), mean_return)


def resuming(folder: Path) -> str:
    """Return the command that goes on with the run in ``folder``."""
    return f"spl train agent --resume {shlex.quote(str(folder))}"


def stopped_before(folder: Path, console: Console | None, again: str) -> Result:
    """Say how to go on with a run that was told to stop before its first step, and return how it ended."""
    console = Console(stderr=True) if console is None else console
    say(console, f"stopped and saved before the first step; go on with: {again}")
    return Result(folder, 0, False, math.nan)


def go(
    config: TrainAgentConfig,
    parts: Parts,
    watch: Watch,
    faults: list[Fault],
    again: str,
    assumed: Sequence[str] = (),
) -> None:
    """Train to the end, or until told to stop; whatever ends it, it is saved first.

    ``again`` is the command that goes on with it, ``assumed`` what was assumed of its streams.

    Raises:
        RunError: if the environments fail too often, or a loss is not finite.
    """
    try:
        with watch.report, watch.stop:
            say_hello(config, parts, watch)
            for sentence in assumed:
                watch.report.say(f"assumed    {sentence}")
            watch.tell_news()
            for fault in faults:
                watch.tell(fault)
            try:
                run_phases(config, parts, watch)
            finally:
                watch.finish()
    finally:
        watch.report.say(closing_words(config, watch, again))


def is_finished(config: TrainAgentConfig, parts: Parts) -> bool:
    """Whether all steps are taken, and what they are for is learned."""
    return parts.progress.step >= config.num_steps and not parts.progress.is_learning


def say_hello(config: TrainAgentConfig, parts: Parts, watch: Watch) -> None:
    """Say where the run lies and what was chosen for it."""
    num_parameters = sum(parameter.numel() for parameter in parts.agent.network.parameters())
    fleet, say = parts.collector.fleet, watch.report.say
    say(f"run        {watch.folder}")
    say(f"streams    {told_streams(fleet.spec_of_streams, fleet.streams)}")
    for sentence in told_left_out(fleet.streams):
        say(f"left out   {sentence}")
    if fleet.num_envs > 1 or fleet.is_apart:
        each = ", each" if fleet.num_envs > 1 else ","
        say(f"envs       {fleet.num_envs}" + (f"{each} in a process of its own" if fleet.is_apart else ""))
    say(f"network    {num_parameters:,} parameters on {parts.agent.device}")
    source = watch.folder / PRETRAINING if config.pretrain_steps else config.pretrained.run
    if source is not None:
        say(f"encoder    of {source}, {'frozen' if config.pretrained.mode == 'frozen' else 'learns on'}")
    say(f"threads    {watch.threads}")
    if parts.progress.step and not len(parts.memory):
        say(f"memory     was not saved: {config.memory.min_size:,} transitions come before learning")


def closing_words(config: TrainAgentConfig, watch: Watch, again: str) -> str:
    """Return what to do next: evaluate a run that came to its end, go on with another."""
    step = watch.parts.progress.step
    if watch.saved_step != step:
        return (
            f"stopped at step {step:,}, which could not be saved (the last save is of step "
            f"{watch.saved_step:,}); go on from there with: {again}"
        )
    if is_finished(config, watch.parts):
        return f"finished; evaluate with: spl evaluate agent {shlex.quote(str(watch.folder))}"
    return f"stopped and saved at step {step:,}; go on with: {again}"


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
        if is_ready(config, parts.memory):
            phases = parts.progress.step // config.loop.collect_steps - before // config.loop.collect_steps
            parts.progress.replays_due += phases * config.loop.replays
        watch.after_step(collected)


def is_ready(config: TrainAgentConfig, memory: ReplayMemory) -> bool:
    """Whether the memory holds enough to learn from.

    Raises:
        RunError: if it is full and never will.
    """
    if len(memory) >= config.memory.min_size:
        return True
    if all(count > memory.usable for count in memory.written):
        raise RunError(
            f"the memory is full with {len(memory):,} transitions and would never hold the "
            f"{config.memory.min_size:,} of memory.min_size: choose a larger memory.capacity"
        )
    return False


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
            curriculum=parts.curriculum,
            max_grad_norm=config.agent.max_grad_norm,
        )
    except NonFiniteBatch as error:
        raise RunError(
            f"update {parts.agent.num_updates + 1} was not taken: {error.__cause__}; its batch lies in "
            f"{watch.set_aside(error)}; a smaller --agent.learning_rate or --agent.reward_scale may help"
        ) from error
