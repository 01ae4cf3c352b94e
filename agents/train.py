"""``spl train agent``: a run from its first step to its last, saved and resumed."""

import contextlib
import math
import shlex
import sys
from pathlib import Path
from typing import NamedTuple

import torch
from rich.console import Console

from spl.agents.build import is_fresh, open_envs, prepare
from spl.agents.config import TrainAgentConfig
from spl.agents.encoder_init import adopt_encoder
from spl.agents.estimates import check_envs
from spl.agents.pretraining import open_run, pretrain
from spl.agents.training import Training
from spl.runs.files import hold
from spl.runs.logger import say
from spl.runs.threads import Threads
from spl.training.loop import run


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
        config, envs, assumed = open_envs(config, resume)
        held.enter_context(contextlib.closing(envs))
        folder = resume
        if config.pretrain_steps and is_fresh(resume):
            folder = open_run(config, envs, resume, command)
            if resume is None:
                held.enter_context(hold(folder))
            again = go_on_with or command_to_resume(folder)
            if not pretrain(config, envs, folder, command, console, again):
                return stopped_before(folder, console, again)
            command = []  # it stands in the folder already
        folder, parts, faults = prepare(config, envs, folder, command)
        if resume is None and not config.pretrain_steps:
            held.enter_context(hold(folder))
        training = Training(config, parts, folder, threads, console, faults, assumed)
        again = go_on_with or command_to_resume(folder)
        is_finished = run(training, save_every_minutes=config.checkpoint_every_minutes, resume_with=again)
    mean_return = float(parts.progress.returns.mean()) if parts.progress.recent else math.nan
    return Result(folder, parts.progress.step, is_finished, mean_return)


def command_to_resume(folder: Path) -> str:
    """Return the command that goes on with the run in ``folder``."""
    return f"spl train agent --resume {shlex.quote(str(folder))}"


def stopped_before(folder: Path, console: Console | None, again: str) -> Result:
    """Say how to go on with a run that was told to stop before its first step, and return how it ended."""
    console = Console(stderr=True) if console is None else console
    say(console, f"stopped and saved before the first step; resume with: {again}")
    return Result(folder, 0, False, math.nan)
