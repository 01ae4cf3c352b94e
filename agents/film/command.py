"""``spl film``: a video of a trained agent playing, with its whole sound and saliency overlays."""

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from spl.agents.conditions import Spoiler, conditions
from spl.agents.dqn import MultimodalDqn
from spl.agents.evaluation.choice import played_moments
from spl.agents.evaluation.decision import Reason, reason_of
from spl.agents.evaluation.rollout import Player
from spl.agents.film.config import FilmConfig
from spl.agents.film.out import open_out
from spl.agents.film.reel import Reel
from spl.agents.history import Stack
from spl.agents.hub import local_folder
from spl.agents.load import env_config_of, load_agent
from spl.agents.monitor.fitted import load_usual
from spl.agents.monitor.monitor import ModalityMonitor
from spl.config.errors import RunError, UsageError
from spl.envs.adapter import AudioVisualEnv
from spl.envs.chosen_streams import describe_left_out
from spl.envs.filmed import make_filmed
from spl.explain.two_streams import looked_at
from spl.media.video_writer import CODECS, write_video
from spl.processes.signals import StopSignals
from spl.records import AUDIO, VIDEO, StreamSpec
from spl.runs.directory import generator_of
from spl.runs.logger import say

REPORT_EVERY = 30  # frames
# As large as the writer's own choice, not quite as fine, in two thirds of its time
QUICK = {"libx264": {"crf": "23", "preset": "superfast"}}
ABSENT: dict[str, tuple[int, ...]] = {"both": (), "video": (AUDIO,), "audio": (VIDEO,)}  # taken away


def notes_of(agent: MultimodalDqn, spec: StreamSpec, config: FilmConfig) -> list[str]:
    """Return what the film will not have, and why, in sentences.

    Raises:
        UsageError: if the agent shall be given a modality that it does not have.
    """
    has = {"video": spec.has_video, "audio": spec.has_audio}
    if config.modalities != "both" and not all(has.values()):
        only = next((name for name in has if has[name]), "state")
        raise UsageError(f"the agent has {only} alone, got --modalities {config.modalities}: leave it out")
    notes = [] if spec.has_audio else ["the environment has no audio: the film is silent"]
    for name, layer in zip(has, looked_at(agent.network.encoder), strict=True):
        if config.overlay and has[name] and layer is None:
            notes.append(f"the {name} stream has no convolutions: no map of what it attends to")
    return notes


def spoil_of(env: AudioVisualEnv, config: FilmConfig) -> Spoiler | None:
    """Return what shall happen to a modality; None: nothing.

    Raises:
        UsageError: if there is no such condition.
    """
    if config.failure is None:
        return None
    there = conditions(env.spec_of_streams, config.fails_at_step, with_unflagged=True)
    if config.failure not in there:
        raise UsageError(f"failure must be one of {', '.join(there)}, got {config.failure}")
    return Spoiler(
        there[config.failure],
        is_waveform=env.config.audio_features == "waveform",
        generator=generator_of(config.seed, "condition"),
    )


def film(
    run: str | Path, config: FilmConfig | None = None, *, console: Console | None = None, **options: Any
) -> dict[str, Any]:
    """Let the run's agent play, and write it as a film; the run is else left as it is.

    Picture, sound and what is drawn are made frame by frame and none is held, so that a long film takes no
    more memory than a short one. Frame ``k`` is shown while its own sound sounds. A decision is shown with
    the frames that led to it, whose last is the one that it was made on.

    Args:
        run: run directory of ``spl train agent``.
        config: what is filmed; None: as ``options`` say.
        console: where to tell how far it is; standard error by default.
        options: fields of `FilmConfig`, such as ``duration_s=10``.

    Returns:
        What was filmed: ``file`` and its ``subtitles``, the checkpoint's ``step``, ``frames``, ``seconds``,
        the episodes' ``returns`` as far as they are filmed, how many ``ended`` in it, and whether it
        ``is_finished``, not stopped by a signal.

    Raises:
        UsageError: if there is no such run, it has no checkpoint, or the film cannot be written.
        RunError: if the environment fails; the film until then is kept.
    """
    run, config = local_folder(run), replace(config or FilmConfig(), **options)
    agent, make, history, step = load_agent(run, config.device, config.checkpoint, trusts=config.trust)
    path = run / "agent.mp4" if config.out is None else Path(config.out)
    open_out(path)  # after the run was read: what is no run gets no folder
    env, camera = make_filmed(env_config_of(run))
    console = Console(stderr=True) if console is None else console
    try:
        for note in notes_of(agent, env.spec_of_streams, config):
            console.print(f"note: {note}", highlight=False, soft_wrap=True, markup=False)
        for sentence in describe_left_out(env.describe()):
            say(console, f"left out   {sentence}")
        spoil, watch = spoil_of(env, config), None
        if config.monitor:
            watch = ModalityMonitor(load_usual(run, step))
        moments = played_moments(agent, make, history, config.seed + 1)
        step_s = float(env.frame_skip / camera.frame_rate_hz)
        every = max(1, math.ceil(config.subtitle_s / step_s))

        def decide(stack: Stack, step: int) -> Reason:
            is_told = step % every == 0
            return reason_of(agent, stack, moments, with_maps=config.overlay, with_words=is_told)

        absent = ABSENT[config.modalities]
        player = Player(
            decide, env, camera, history=history, absent=absent, spoil=spoil, watch=watch, seed=config.seed
        )
        with StopSignals() as stop:
            reel = Reel(env, camera, config, stop)
            write_reel(path, reel, player, console)
    finally:
        env.close()
    if reel.failure is not None:
        raise RunError(f"{reel.failure}; the film {path} ends there") from reel.failure
    return {
        "file": path,
        "step": step,
        "subtitles": path.with_suffix(".srt"),
        "frames": reel.num_frames,
        "seconds": float(reel.num_frames / reel.frame_rate_hz),
        "returns": reel.returns,
        "ended": reel.num_ended,
        "is_finished": not stop.has_come(),
    }


def write_reel(path: Path, reel: Reel, player: Player, console: Console) -> None:
    """Write what is played while it is played, and its subtitles; `OSError` if the disk refuses."""
    rate_hz = player.camera.sample_rate_hz
    try:
        write_video(
            path,
            watched(reel, reel.frames(player.shots(reel.config.num_episodes)), console),
            fps=reel.frame_rate_hz,
            audio=None if rate_hz is None else reel.sounds(),
            sample_rate_hz=rate_hz,
            video_options=QUICK.get(CODECS[path.suffix.lower()][0]),
        )
        reel.subtitles.write(path.with_suffix(".srt"), float(reel.num_frames / reel.frame_rate_hz))
    except OSError as error:
        why = error.strerror or error
        raise OSError(f"the film {path} cannot be written: {why}; choose another --out") from error


def watched(reel: Reel, frames: Iterator[NDArray[np.uint8]], console: Console) -> Iterator[NDArray[np.uint8]]:
    """Yield the frames, and show how far the film is."""
    columns = (
        TextColumn("filming {task.fields[told]}"),
        BarColumn(),
        TextColumn("{task.percentage:.0f} %"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=reel.most_frames, told="")
        for number, frame in enumerate(frames, start=1):
            if number % REPORT_EVERY == 1:
                bar.update(task, completed=number, told=f"episode {len(reel.returns)}")
            yield frame
