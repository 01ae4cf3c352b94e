"""The training of an agent in its run directory: when it collects, learns, saves, and what it logs."""

import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from torch import Tensor

from spl.agents.checkpoint import Parts, save
from spl.agents.collectors.intake import Collectors
from spl.agents.collectors.progress import Collected, Episode
from spl.agents.config import TrainAgentConfig
from spl.agents.encoder_init import PRETRAINING
from spl.agents.estimates import prospects_of
from spl.agents.loop import NonFiniteBatch, learn, owed_steps
from spl.agents.periodic_evaluation import Evaluations
from spl.config.errors import RunError
from spl.envs.chosen_streams import describe_left_out, describe_streams
from spl.envs.vector import Fault
from spl.processes.signals import StopSignals
from spl.processes.threads import Threads
from spl.runs.logger import Report, brief
from spl.training.loop import NotTaken, Part

TOLD_THIRDS = "each transition is learned whole, as video alone and as audio alone"
REMEDY = "a smaller --agent.learning_rate or --agent.reward_scale may help"


class Hooks(NamedTuple):
    """A user's functions, called while an agent is trained; one that returns False ends the run, saved."""

    on_row: Callable[[int, Mapping[str, Any]], Any] | None = None  # step, and what the log gets
    on_episode: Callable[[int, Episode], Any] | None = None  # step, and the episode that ended there


class Training:
    """An agent's training, as `spl.training.loop` drives it, from where its ``parts`` stand.

    ``faults`` are of environments that could not be put back to where they stood; ``assumed`` says what was
    assumed of their streams.
    """

    counted, shows_end = "step", True

    def __init__(
        self,
        config: TrainAgentConfig,
        parts: Parts,
        folder: Path,
        threads: Threads,
        console: Console | None,
        faults: Sequence[Fault] = (),
        assumed: Sequence[str] = (),
        hooks: Hooks = Hooks(),  # noqa: B008  a tuple, which nobody changes
    ) -> None:
        self.config, self.parts, self.folder, self.threads = config, parts, folder, threads
        self.progress, self.collector = parts.progress, parts.collector
        self.collectors = parts.collector if isinstance(parts.collector, Collectors) else None
        self.envs, self.assumed = parts.collector.envs, assumed
        title = f"spl train agent · {config.env.id} · seed {config.seed}"
        self.report = Report(
            folder,
            title,
            config.num_steps,
            first_step=self.done,
            console=console,
            config=config,
            owed=lambda: owed_steps(self.progress, config.loop),
        )
        self.evaluations, self.hooks = Evaluations(config, folder, self.done), hooks  # once rows are cut off
        self.stop = StopSignals()
        self.num_faults = 0
        self._unreported, self._has_failed = faults, False  # since it was saved
        self._saved_step, self._saved_written = self.done, parts.memory.written

    @property
    def done(self) -> int:
        """Steps taken, in all environments."""
        return self.progress.step

    @property
    def is_finished(self) -> bool:
        """Whether all steps are taken, what they are for is learned, and no evaluation is due."""
        is_learned = self.done >= self.config.num_steps and not self.progress.is_learning
        return is_learned and not self.evaluations.is_due(self.done)

    @property
    def is_save_due(self) -> bool:
        """Whether, since the last save, an environment failed, an agent became the best, or enough came.

        Enough is at the latest what makes the memory write over what the last save needs.
        """
        memory = self.parts.memory
        slack = memory.slots - memory.usable
        newer = max(now - then for now, then in zip(memory.written, self._saved_written, strict=True))
        return (
            self._has_failed
            or self.evaluations.has_new_best
            or self.done - self._saved_step >= self.config.checkpoint_every_steps
            or (slack > 0 and newer >= slack - 2)  # the next ones would overwrite what the last save needs
        )

    def save(self) -> None:
        """Save everything."""
        started = time.monotonic()
        save(self.parts, self.folder, with_memory=self.config.save_memory)
        self._saved_step, self._saved_written, self._has_failed = self.done, self.parts.memory.written, False
        self.evaluations.has_new_best = False
        self.parts.meter.saving_s += time.monotonic() - started

    def units(self) -> Iterator[tuple[Part, ...]]:
        """Yield each update that is due, and an evaluation, then a step of all environments, to the end."""
        self._report(self._unreported)
        updates = learn(
            self.parts.agent,
            self.parts.memory,
            self.parts.optimizer,
            self.progress,
            self.config.loop,
            curriculum=self.parts.curriculum,
            max_grad_norm=self.config.agent.max_grad_norm,
        )
        while not self.is_finished:
            if self.progress.is_learning:
                yield (Part(partial(self._learn, updates)),)
            elif self.evaluations.is_due(self.done):
                yield (Part(self._evaluate, can_hang=True, keeps_state=True),)
            else:
                yield (Part(self._collect, can_hang=True),)

    def _learn(self, updates: Iterator[Tensor]) -> None:
        try:
            self.parts.meter.add(next(updates))
        except NonFiniteBatch as error:
            batch = {**error.batch._asdict(), **error.soon, "losses": error.losses}
            raise NotTaken(self.parts.agent.num_updates, batch, error.__cause__, REMEDY) from error

    def _evaluate(self) -> None:
        """Write a row of what the agent earns now; a failing environment costs that row alone."""
        started = time.monotonic()
        try:
            self._row(self.evaluations.evaluate(self.parts))
        except RunError as error:
            self.report.say(f"fault      {error}; the agent is not evaluated at step {self.done:,}")
            self._row({"fault": str(error)})
        self.parts.meter.evaluating_s += time.monotonic() - started

    def _row(self, values: Mapping[str, Any]) -> None:
        if self.collectors is not None:
            values = {**values, "collector/weights_age": self.collectors.weights_age}
        self.report.row(self.done, values)
        self._call(self.hooks.on_row, values)

    def _call(self, hook: Callable[[int, Any], Any] | None, told: Any) -> None:
        if hook is not None and hook(self.done, told) is False:
            self.stop.stop()

    def _collect(self) -> None:
        """Take a step in each environment; count what is to be learned after it, and tell what came of it.

        Raises:
            RunError: if environments failed too often, or the memory will never hold enough.
        """
        before, loop = self.done, self.config.loop
        collected = self.collector.step()
        if self._can_learn():
            phases = self.done // loop.collect_steps - before // loop.collect_steps
            self.progress.replays_due += phases * loop.replays
        for sentence in collected.lost:
            self.report.say(f"collector  {sentence}")
            self._row({"collector": sentence})
        self._write_rows(collected)
        self._report(collected.faults)
        if collected.faults:
            self.num_faults, self._has_failed = self.num_faults + len(collected.faults), True
            if self.num_faults > self.config.max_faults:
                raise RunError(
                    f"{self.config.env.id} failed {self.num_faults} times (--max_faults "
                    f"{self.config.max_faults}), the last time in {collected.faults[-1]}; "
                    "'spl check env' examines it"
                )

    def _can_learn(self) -> bool:
        memory, min_size = self.parts.memory, self.config.memory.min_size
        if len(memory) >= min_size:
            return True
        if all(count > memory.usable for count in memory.written):
            raise RunError(
                f"the memory is full with {len(memory):,} transitions and would never hold the "
                f"{min_size:,} of memory.min_size: choose a larger memory.capacity"
            )
        return False

    def _write_rows(self, collected: Collected) -> None:
        for episode in collected.episodes:
            self._row({"rollout/episode_return": episode.total, "rollout/episode_length": episode.length})
            self._call(self.hooks.on_episode, episode)
        every = self.config.report_every_steps
        if self.done // every > (self.done - len(collected.transitions)) // every:
            self._row({**self._progress_row(), **self.parts.meter.row(self.done)})

    def _report(self, faults: Sequence[Fault]) -> None:
        """Say which streams went beyond their range, once for each, and what went wrong in environments."""
        for sentence in self.envs.take_news():
            self.report.say(f"range      {sentence}")
        for fault in faults:
            self.report.say(f"fault      {fault}; it begins a new episode")
            self._row({"fault": str(fault)})

    def _progress_row(self) -> dict[str, float | int]:
        progress = self.progress
        values: dict[str, float | int] = {
            "rollout/exploration_rate": self.collector.epsilon_at(progress.step),
            "rollout/episodes": progress.episode,
            "time/threads": self.threads.count,
            "train/n_updates": self.parts.agent.num_updates,
            "memory/transitions": len(self.parts.memory),
            **self.parts.curriculum.told,
        }
        if progress.recent:
            values["rollout/ep_rew_mean"] = float(progress.returns.mean())
            values["rollout/ep_rew_std"] = float(progress.returns.std())
            values["rollout/ep_len_mean"] = float(np.mean([one.length for one in progress.recent]))
        if self.collectors is not None:
            values |= self.collectors.row()
        return values

    def status(self) -> dict[str, Any]:
        """Return what the terminal shows."""
        memory, meter, progress = self.parts.memory, self.parts.meter, self.progress
        seconds = max(time.monotonic() - meter.started, 1e-9)
        told: dict[str, Any] = {
            "steps/s": (progress.step - meter.first_step) / seconds,
            "updates/s": meter.num_updates / seconds,
            "epsilon": self.collector.epsilon_at(progress.step),
            "memory": f"{len(memory):,} of {self.config.memory.capacity:,}, "
            f"{len(memory) * memory.bytes_per_transition / 2**20:,.0f} MiB",
        }
        if progress.recent:
            totals = progress.returns
            told["return"] = f"{totals.mean():.4g} ± {totals.std():.2g} over {brief(len(totals))} episodes"
        told |= self.evaluations.told()
        if meter.loss_sum is not None:
            told["loss"] = meter.loss_sum.reshape(-1)[0].item() / meter.row_updates
        if self.num_faults:
            told["faults"] = self.num_faults
        if self.collectors is not None:
            told |= dict(self.collectors.status())
        return told

    def summary(self) -> Iterator[str]:
        """Yield what was chosen."""
        config, envs, agent = self.config, self.envs, self.parts.agent
        yield f"streams    {describe_streams(envs.spec_of_streams, envs.streams)}"
        if isinstance(actions := envs.streams["actions"], dict):
            yield f"actions    {actions['space']} as {' x '.join(map(str, actions['sizes']))} values"
        for sentence in describe_left_out(envs.streams):
            yield f"left out   {sentence}"
        for sentence in () if self.collectors is None else self.collectors.told:
            yield f"collectors {sentence}"
        if self.collectors is None and (envs.num_envs > 1 or envs.is_apart):
            each = ", each" if envs.num_envs > 1 else ","
            apart = f"{each} in a process of its own" if envs.is_apart else ""
            yield f"envs       {envs.num_envs}{apart}"
        num_parameters = sum(parameter.numel() for parameter in agent.network.parameters())
        yield f"network    {num_parameters:,} parameters on {agent.device}"
        if unroll := config.agent.unroll:
            size = agent.network.num_remembered
            yield f"recurrent  {size} numbers; samples of {unroll.learned} steps, after {unroll.burn_in} more"
        reason = config.agent.no_thirds(envs.spec_of_streams)
        yield f"thirds     {TOLD_THIRDS if reason is None else f'none: {reason}'}"
        yield from prospects_of(config)
        source = self.folder / PRETRAINING if config.pretrain_steps else config.pretrained.run
        if source is not None:
            yield f"encoder    of {source}, {'frozen' if config.pretrained.mode == 'frozen' else 'learns on'}"
        yield f"threads    {self.threads}"
        if self.done and not len(self.parts.memory):
            yield f"memory     was not saved: {config.memory.min_size:,} transitions come before learning"
        for sentence in self.assumed:
            yield f"assumed    {sentence}"

    def farewell(self) -> str:
        """Return what to do with a run that came to its end."""
        if not self.parts.agent.num_updates:
            return "finished without an update: nothing was learned"
        return f"finished; evaluate with: spl evaluate agent {shlex.quote(str(self.folder))}"
