"""Pretraining within an agent's run: record random steps, then train an autoencoder on them.

Both lie in ``pretraining`` of the agent's run, which is itself a run of ``spl pretrain autoencoder``.
"""

import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from spl.agents.build import new_agent
from spl.agents.collectors.progress import Progress
from spl.agents.config import TrainAgentConfig, create_run
from spl.agents.encoder_init import PRETRAINING
from spl.agents.env_signature import check_environment, read_environment
from spl.agents.exploration import ModalityDropout
from spl.agents.loop import Collector
from spl.agents.record import MAX_EPISODE_EDGES, RandomAgent, report_faults, roll_out, save_recording
from spl.agents.replay.memory import ReplayMemory
from spl.config.errors import UsageError
from spl.data.recording_files import trim
from spl.data.recording_format import HEADER
from spl.data.recordings import Recordings
from spl.envs.vector import VectorisedEnv
from spl.pretrain.config import PretrainConfig
from spl.pretrain.data import PairsConfig
from spl.pretrain.training import Training
from spl.processes.signals import StopSignals
from spl.runs import checkpoint
from spl.runs.directory import describe_run, generator_of
from spl.runs.files import hold
from spl.runs.logger import Report
from spl.runs.state import MISFIT
from spl.training.loop import run as train


def open_run(config: TrainAgentConfig, envs: VectorisedEnv, folder: Path | None, command: list[str]) -> Path:
    """Return the folder of an agent's run whose encoder is to be pretrained first: a new one, or ``folder``.

    Raises:
        UsageError: if environments, memory, device or network do not serve; no folder is left behind then.
    """
    if not (envs.spec_of_streams.has_video and envs.spec_of_streams.has_audio):
        raise UsageError(
            f"pretrain_steps needs an environment with video and audio, and {config.env.id} lacks "
            f"{'sound' if envs.spec_of_streams.has_video else 'a picture'}: leave it out"
        )
    new_agent(config, envs)  # what would not train is reported before anything is recorded
    if folder is None:
        return create_run(config, envs.streams, command)
    check_environment(read_environment(folder), envs.streams, folder)
    describe_run(folder, config, command, {"env": envs.streams})
    return folder


def pretrain(
    config: TrainAgentConfig,
    envs: VectorisedEnv,
    run: Path,
    command: list[str],
    console: Console | None,
    again: str,
) -> bool:
    """Record and pretrain in the folder of an agent's ``run``, or go on with that.

    ``again`` is the command that goes on with the run.

    Returns:
        Whether the encoder is there; False: it was told to stop, and saved.

    Raises:
        UsageError: if what was recorded or saved does not serve.
        RunError: if the environments fail too often, or a loss is not finite; it is saved.
    """
    folder = run / PRETRAINING
    recording = folder / "recording"
    if not is_recorded(recording, config.pretrain_steps) and not _Recorder(config, envs, recording).go(
        config, console
    ):
        return False
    trim(recording)  # again where a kill came between
    shutil.rmtree(recording / "checkpoints", ignore_errors=True)
    source = Recordings([recording], history=config.memory.history)
    described = describe_pretraining(config, recording)
    with hold(folder):
        training = Training(described, folder, source, console)
        describe_run(folder, described, command, {"signature": source.signature})
        return train(training, save_every_minutes=config.checkpoint_every_minutes, resume_with=again)


def describe_pretraining(config: TrainAgentConfig, recording: Path) -> PretrainConfig:
    """Return what describes the autoencoder that is trained on ``recording`` for the agent of ``config``."""
    return PretrainConfig(
        data=PairsConfig(paths=(str(recording),), history=config.memory.history),
        encoder=config.encoder,
        objective=config.pretrain.objective,
        recipe=config.pretrain.recipe,
        seed=config.seed,
        device=config.device,
        num_threads=config.num_threads,
        runs=config.runs,
        track=config.track,
        checkpoint_every_minutes=config.checkpoint_every_minutes,
    )


def is_recorded(folder: Path, num_steps: int) -> bool:
    """Whether ``folder`` holds a recording of all the steps."""
    try:
        return bool(json.loads((folder / HEADER).read_bytes())["meta"]["steps"] >= num_steps)
    except FileNotFoundError:
        return False
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{folder / HEADER} is empty, cut or corrupt: {error}; delete {folder}") from error


class _Recorder:
    """Lets environments be acted in at random, from the beginning or on from where it was saved.

    Raises:
        UsageError: if what was saved cannot be read.
        OSError: if the disk has no room.
    """

    def __init__(self, config: TrainAgentConfig, envs: VectorisedEnv, folder: Path) -> None:
        self.folder, self.envs = folder, envs
        self.actor = RandomAgent(envs.action_sizes, generator_of(config.seed, "pretraining"))
        self.progress = Progress()
        is_begun = checkpoint.latest(folder / "checkpoints") is not None
        self.memory = self._read() if is_begun else self._make(config)
        self.collector = Collector(
            self.actor,  # type: ignore[arg-type]  # it acts and never learns
            envs,
            self.memory,
            self.progress,
            epsilon_at=lambda step: 1.0,
            dropout=ModalityDropout(0.0, 1.0, generator_of(config.seed, "dropout"), num_envs=envs.num_envs),
            keep_reward=float,
        )
        self.faults = self._restore() if is_begun else []
        if not is_begun:
            self.collector.begin(envs.start().begun)

    def _make(self, config: TrainAgentConfig) -> ReplayMemory:
        shutil.rmtree(self.folder, ignore_errors=True)  # of a stretch that was killed before it was saved
        num_steps = config.pretrain_steps + self.envs.num_envs * (1 + config.max_faults)
        return ReplayMemory(
            self.envs.spec_of_streams,
            MAX_EPISODE_EDGES * num_steps,
            num_envs=self.envs.num_envs,
            num_dimensions=len(self.envs.action_sizes),
            history=1,
            folder=self.folder,
        )

    def _read(self) -> ReplayMemory:
        try:
            return ReplayMemory.load(self.folder, history=1, mmap=True, writable=True)
        except ValueError as error:
            raise UsageError(f"the recording cannot be resumed: {error}") from error

    def _restore(self) -> list[Any]:
        try:
            state = checkpoint.load(self.folder / "checkpoints")
            self.memory.load_state_dict(state["memory"])
            self.progress.load_state_dict(state["progress"])
            self.actor.generator.bit_generator.state = state["generator"]
            return list(self.collector.load_state_dict(state["collector"]))
        except MISFIT as error:
            raise UsageError(
                f"the recording cannot be resumed: {error}; delete {self.folder} to record again"
            ) from error

    def go(self, config: TrainAgentConfig, console: Console | None) -> bool:
        """Record to the end, or until told to stop; return whether it came to its end."""
        num_steps, first_step = config.pretrain_steps, self.progress.step
        title = f"spl train agent · recording {config.env.id} at random · seed {config.seed}"
        report = Report(
            self.folder, title, num_steps, first_step=first_step, is_logged=False, console=console
        )
        with report, StopSignals() as stop:
            report.say(f"recording  {num_steps:,} steps at random into {self.folder}")
            report_faults(self.faults, report)
            roll_out(
                self.collector,
                num_steps,
                report,
                stop,
                save=partial(self._save, config.seed, num_steps),
                save_every_steps=config.checkpoint_every_steps,
                max_faults=config.max_faults,
            )
        return self.progress.step >= num_steps

    def _save(self, seed: int, num_steps: int) -> None:
        save_recording(
            self.collector, self.memory, self.folder, actor="random", seed=seed, num_steps=num_steps
        )
        state = {
            "memory": self.memory.state_dict(),
            "progress": self.progress.state_dict(),
            "generator": self.actor.generator.bit_generator.state,
            "collector": self.collector.state_dict(),
        }
        checkpoint.save(self.folder / "checkpoints", state, step=self.progress.step)
