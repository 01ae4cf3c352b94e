"""``spl train agent``: a run from its first step to its last, saved and resumed; or restarts of it."""

import contextlib
import json
import math
import shlex
import shutil
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from rich.console import Console

from spl.agents.build import is_fresh, open_envs, prepare
from spl.agents.collectors.crew import hire, ray_of
from spl.agents.collectors.progress import RECENT_EPISODES, Episode
from spl.agents.config import TrainAgentConfig, read_run
from spl.agents.encoder_init import adopt_encoder
from spl.agents.estimates import check_envs, ram_bytes
from spl.agents.player import open_player, plan_of
from spl.agents.pretraining import open_run, pretrain
from spl.agents.training import Hooks, Training
from spl.config.errors import RunError, UsageError
from spl.pretrain.config import RESTARTS
from spl.processes.threads import Threads, torch_as_before
from spl.runs.directory import RunContext, describe_run, held_run
from spl.runs.files import hold, read_json, replace_text
from spl.runs.logger import say
from spl.runs.trackers import check_tracker
from spl.training.loop import run
from spl.training.restarts import forget_losers, initialisations, judge, train_each

OF_LOSERS = ("checkpoints", "memory", "pretraining/checkpoints", "pretraining/recording")


class Result(NamedTuple):
    """How a run ended."""

    folder: Path
    step: int
    is_finished: bool  # False: it was told to stop, and can be resumed
    mean_return: float  # over the last episodes; NaN where none ended


def train_agent(
    config: TrainAgentConfig,
    *,
    resume: str | Path | None = None,
    command: list[str] | None = None,
    console: Console | None = None,
    go_on_with: str | None = None,
    on_row: Callable[[int, Mapping[str, Any]], Any] | None = None,
    on_episode: Callable[[int, Episode], Any] | None = None,
) -> Result:
    """Train an agent as ``config`` says, in a new run folder or on from the one to ``resume``.

    Whatever ends the run early, a signal or an error, it is saved first.

    Args:
        config: of the run.
        resume: folder of a run to go on with.
        command: as the run directory tells it; None: this process's.
        console: where it tells how far it is; standard error by default.
        go_on_with: the command that a stopped run names; None resumes its folder alone.
        on_row: called with the step and each row of ``metrics.jsonl``, evaluations too. One that returns
            False ends the run, which is saved and can be resumed; what it raises ends it likewise.
        on_episode: called with the step and each episode of training that ended, its ``total`` and
            ``length``; likewise.

    Raises:
        UsageError: if the environment, the memory or the folder does not serve; nothing was started then.
        RunError: if the environments fail too often, or a loss is not finite.
    """
    check_tracker(config.track)
    resume = None if resume is None else Path(resume)
    config = adopt_encoder(config) if resume is None else config
    if config.restarts > 1:
        name = f"{config.env.id.split('/')[-1]}-s{config.seed}"
        with held_run(resume, Path(config.runs) / "agent", name, command, console) as context:
            context = context._replace(resume_with=go_on_with)
            return train_restarts(context, config, on_row=on_row, on_episode=on_episode)
    command = sys.argv if command is None else command
    with contextlib.ExitStack() as held:
        held.enter_context(torch_as_before())
        threads = Threads(config.num_threads)
        torch.set_flush_denormal(True)
        if resume is not None:
            held.enter_context(hold(resume))
        shown = Console(stderr=True) if console is None else console
        plan = plan_of(config) if config.collectors else None
        ray = held.enter_context(ray_of(plan, ram_bytes=ram_bytes()))
        many = check_envs(config.num_envs, is_apart=config.is_apart, option="--num_envs")
        if many is not None:
            say(shown, many)
        if resume is not None and is_fresh(resume) and (resume / "metrics.jsonl").is_file():
            say(shown, f"{resume} has no checkpoint: it begins again at step 0, with new rows and memory")
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
        opener, tell = partial(open_player, config), partial(say, shown)
        crew = None if plan is None else hire(ray, plan, opener, tell)
        folder, parts, faults = prepare(config, envs, folder, command, crew)
        if crew is not None:
            envs.close()  # it has told what there is
        if resume is None and not config.pretrain_steps:
            held.enter_context(hold(folder))
        hooks = Hooks(on_row, on_episode)
        try:
            training = Training(config, parts, folder, threads, console, faults, assumed, hooks)
        except UsageError:  # of its tracker
            if resume is None and not config.pretrain_steps:
                shutil.rmtree(folder)
            raise
        held.callback(training.evaluations.close)
        again = go_on_with or command_to_resume(folder)
        is_finished = run(training, save_every_minutes=config.checkpoint_every_minutes, resume_with=again)
    mean_return = float(parts.progress.returns.mean()) if parts.progress.recent else math.nan
    return Result(folder, parts.progress.step, is_finished, mean_return)


def train_restarts(context: RunContext, config: TrainAgentConfig, **hooks: Any) -> Result:
    """Train ``restarts`` initialisations in sub-folders, of the seeds from ``seed`` on; keep the best agent.

    The best is the one with the highest mean return over the last episodes of its training, exploration
    included: as many as `RECENT_EPISODES`, which takes no step beside the training's own. Each is trained as
    if started alone, pretraining too. The others keep their rows; their weights and memories are deleted once
    ``restarts.json`` says which is kept. One in which no episode ended is reported as failed.

    Raises:
        UsageError: as `train_agent`, or if a run whose restarts are all trained is to go on.
        RunError: if none of them came to its end.
    """
    folder, again = context.folder, context.resume_with or command_to_resume(context.folder)
    if not (folder / RESTARTS).exists():
        describe_run(folder, config, context.command)
        returns: dict[str, float] = {}

        def train(place: Path, one: TrainAgentConfig) -> bool:
            result = train_agent(
                one, resume=place, command=context.command, console=context.console, go_on_with=again, **hooks
            )
            if result.is_finished and math.isnan(result.mean_return):
                raise RunError(f"no episode ended in its {one.num_steps:,} steps, which could be compared")
            returns[place.name] = result.mean_return
            return result.is_finished

        restarts = train_each(folder, initialisations(config), train)
        if restarts is None:
            return Result(folder, 0, False, math.nan)
        values = [returns[place.name] for place in restarts.finished]
        by = f"mean return of the last {RECENT_EPISODES} episodes of training"
        told = judge(restarts, "return", values, max, by)
        replace_text(folder / RESTARTS, json.dumps(told, indent=2) + "\n")
    return _kept(context, config)


def _kept(context: RunContext, config: TrainAgentConfig) -> Result:
    """Delete what is not kept of restarts that are all trained, say which one is, and return how it ended."""
    folder, told = context.folder, read_json(context.folder / RESTARTS)
    step = read_run(folder / told["kept"]).num_steps
    if step != config.num_steps:
        raise UsageError(
            f"the restarts of {folder} are all trained for {step:,} steps, and one is kept: go on with that "
            f"one, {command_to_resume(folder / told['kept'])} --num_steps {config.num_steps}"
        )
    forget_losers(folder, told, OF_LOSERS)
    for name, why in told["failed"].items():
        say(context.console, f"{name} failed: {why}")
    say(
        context.console,
        f"{told['kept']} is kept, the best of {len(told['return'])}; "
        f"it is what spl evaluate agent {shlex.quote(str(folder))} reads",
    )
    return Result(folder, step, True, max(told["return"]))


def command_to_resume(folder: Path) -> str:
    """Return the command that goes on with the run in ``folder``."""
    return f"spl train agent --resume {shlex.quote(str(folder))}"


def stopped_before(folder: Path, console: Console | None, again: str) -> Result:
    """Say how to go on with a run that was told to stop before its first step, and return how it ended."""
    console = Console(stderr=True) if console is None else console
    say(console, f"stopped and saved before the first step; resume with: {again}")
    return Result(folder, 0, False, math.nan)
