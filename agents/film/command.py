"""``spl film``: a video of a trained agent playing, with its whole sound and saliency overlays."""

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from spl.agents.choice import played_moments
from spl.agents.conditions import Spoiler, conditions
from spl.agents.config import kept_run
from spl.agents.decision import Reason, reason_of
from spl.agents.dqn import MultimodalDqn
from spl.agents.evaluate import Which, load_agent
from spl.agents.film.frame import Screen, View
from spl.agents.film.out import open_out
from spl.agents.film.sound_strip import Strip
from spl.agents.film.subtitles import Subtitles
from spl.agents.history import Stack
from spl.agents.monitor import ModalityMonitor
from spl.agents.monitored import load_usual
from spl.agents.names import ActionNames
from spl.agents.rollout import Player, Shot
from spl.config.errors import UsageError
from spl.config.options import PathName
from spl.config.ranges import Count, Count0, NotNegative, Positive, Scale, Seed, check_ranges
from spl.envs.adapter import AudioVisualEnv
from spl.envs.chosen_streams import describe_left_out
from spl.envs.filmed import Camera, Moment, make_filmed
from spl.explain.two_streams import looked_at
from spl.media.video_writer import CODECS, write_video
from spl.records import AUDIO, VIDEO, StreamSpec
from spl.runs.directory import generator_of
from spl.runs.logger import say
from spl.runs.signals import StopSignals

REPORT_EVERY = 30  # frames
STRIP_S = 4.0  # of sound to be seen at a time, and of values whose bars share one range
# As large as the writer's own choice, not quite as fine, in two thirds of its time
QUICK = {"libx264": {"crf": "23", "preset": "superfast"}}
ABSENT: dict[str, tuple[int, ...]] = {"both": (), "video": (AUDIO,), "audio": (VIDEO,)}  # taken away


@dataclass(frozen=True, kw_only=True)
class FilmConfig:
    """What is filmed, and what is shown of it."""

    out: PathName | None = None  # output file; suffix sets the codecs; null: agent.mp4 in the run directory
    num_episodes: Count = 1  # at most
    duration_s: Positive = 120.0  # of the film at most
    modalities: Literal["both", "video", "audio"] = "both"  # given to the agent; the film shows all
    failure: str | None = None  # a condition of spl evaluate agent --conditions all, such as 'video frozen'
    fails_at_step: Count0 = 30  # of each episode
    monitor: bool = (
        False  # clear the presence flag of what fails, by what spl evaluate agent --monitor fitted
    )
    overlay: bool = True  # saliency maps over video and audio
    subtitle_s: NotNegative = 1.5  # for which a decision's sentence stands in the .srt beside it; 0: one each
    scale: Scale | None = None  # factor by which frames are enlarged; null: to about 400 rows
    seed: Seed = 1_000_000  # of the first episode; differs from those of training
    device: str = "auto"  # cpu, cuda, or auto: cuda where there is one
    checkpoint: Which = "last"  # or the best of the evaluations while it was trained

    def __post_init__(self) -> None:
        check_ranges(self)
        if self.out is not None and Path(self.out).suffix.lower() not in CODECS:
            raise ValueError(f"out must end in one of {', '.join(CODECS)}, got {self.out}")


class Reel:
    """Draws shots frame by frame; each frame's sound waits beside it until it is asked for.

    Args:
        env: with ``camera`` in it.
        camera: tells the rates.
        config: how long and how large.
        stop: ends the film early, and whole.
    """

    def __init__(self, env: AudioVisualEnv, camera: Camera, config: FilmConfig, stop: StopSignals) -> None:
        self.config, self.stop = config, stop
        self.frame_rate_hz, self.title = camera.frame_rate_hz, env.config.id
        self.most_frames = max(1, int(config.duration_s * self.frame_rate_hz))
        self.num_frames, self.returns = 0, list[float]()
        self.names = ActionNames(env)
        step_s = float(env.frame_skip / self.frame_rate_hz)
        self._strip: Strip | None = None
        if env.sample_rate_hz is not None:
            num_frames = env.config.audio_frames
            self._strip = Strip(env.config.num_mels, round(num_frames * STRIP_S / step_s), num_frames)
        self.subtitles = Subtitles(self.names.of)
        self._ranges = deque[tuple[float, float]](maxlen=max(1, round(STRIP_S / step_s)))
        self._has_track = False  # whether any decision had a map of the sound
        self._sounds = deque[NDArray[np.float32]]()
        self._screen: Screen | None = None  # made for the first picture

    def frames(self, shots: Iterator[Shot]) -> Iterator[NDArray[np.uint8]]:
        """Yield each frame's picture ``(H, W, 3)`` until there are enough, or no more."""
        for shot in shots:
            if shot.episode == len(self.returns):
                self.returns.append(0.0)
            self._take_in(shot)
            for number, moment in enumerate(shot.moments, start=1):
                if self.num_frames == self.most_frames or self.stop.has_come():
                    return
                self.num_frames += 1
                self.returns[-1] += moment.reward
                if moment.sound is not None:
                    self._sounds.append(moment.sound)
                yield self._draw(shot, moment, number / len(shot.moments))

    def sounds(self) -> Iterator[NDArray[np.float32]]:
        """Yield the sound ``(N, C)`` of the frames drawn so far: none is asked for before its frame."""
        while self._sounds:
            yield self._sounds.popleft()

    def _take_in(self, shot: Shot) -> None:
        self.subtitles.take_in(shot, float(self.num_frames / self.frame_rate_hz))
        if shot.reason is not None:
            values = shot.reason.values
            self._ranges.append((float(values.min()), float(values.max())))
        if self._strip is not None and shot.levels is not None:
            if shot.is_first:
                self._strip.begin()
            self._strip.push(shot.levels)
            if shot.reason is not None and shot.reason.heard is not None:
                self._strip.weigh(shot.reason.heard)
                self._has_track = True

    def _draw(self, shot: Shot, moment: Moment, share: float) -> NDArray[np.uint8]:
        levels = heard = None
        if self._strip is not None:
            levels, heard = self._strip.window(share)
            heard = heard if self._has_track else None
        reason = shot.reason
        lows, highs = zip(*self._ranges, strict=True)
        now_s = float(self.num_frames / self.frame_rate_hz)
        view = View(
            picture=moment.picture,
            seen=None if reason is None else reason.seen,
            levels=levels,
            heard=heard,
            values=None if reason is None else reason.values,
            value_range=(min(lows), max(highs)),
            chosen=() if reason is None else self.names.places(reason.action),
            action="" if reason is None else self.names.of(reason.action),
            shares=None if reason is None else reason.shares,
            present=shot.present,
            total=self.returns[-1],
            line=f"episode {shot.episode + 1} of {self.config.num_episodes} · {now_s:.1f} s",
        )
        if self._screen is None:
            self._screen = self._screen_for(moment.picture)
        return self._screen.draw(view)

    def _screen_for(self, picture: NDArray[np.uint8] | None) -> Screen:
        return Screen(
            self.title,
            self.names.labels,
            picture_size=None if picture is None else (picture.shape[0], picture.shape[1]),
            scale=self.config.scale,
            strip_s=None if self._strip is None else STRIP_S,
        )


def notes_of(agent: MultimodalDqn, spec: StreamSpec, config: FilmConfig) -> list[str]:
    """Return what the film will not have, and why, in sentences.

    Raises:
        UsageError: if the agent shall be given a modality that it does not have.
    """
    has = {"video": spec.has_video, "audio": spec.has_audio}
    if config.modalities != "both" and not all(has.values()):
        only = "video" if spec.has_video else "audio"
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
        the episodes' ``returns`` as far as they are filmed, and whether it ``is_finished``, not stopped by
        a signal.

    Raises:
        UsageError: if there is no such run, it has no checkpoint, or the film cannot be written.
    """
    run, config = Path(run), replace(config or FilmConfig(), **options)
    agent, make, history, step = load_agent(run, config.device, config.checkpoint)
    path = run / "agent.mp4" if config.out is None else Path(config.out)
    open_out(path)  # after the run was read: what is no run gets no folder
    env, camera = make_filmed(kept_run(run)[1].env)
    console = Console(stderr=True) if console is None else console
    try:
        for note in notes_of(agent, env.spec_of_streams, config):
            console.print(f"note: {note}", highlight=False, soft_wrap=True, markup=False)
        for sentence in describe_left_out(env.describe()):
            say(console, f"left out   {sentence}")
        moments = played_moments(agent, make, history, config.seed + 1)
        step_s = float(env.frame_skip / camera.frame_rate_hz)
        every = max(1, math.ceil(config.subtitle_s / step_s))

        def decide(stack: Stack, step: int) -> Reason:
            is_told = step % every == 0
            return reason_of(agent, stack, moments, with_maps=config.overlay, with_words=is_told)

        absent = ABSENT[config.modalities]
        spoil, watch = spoil_of(env, config), None
        if config.monitor:
            watch = ModalityMonitor(load_usual(run, step))
        player = Player(
            decide, env, camera, history=history, absent=absent, spoil=spoil, watch=watch, seed=config.seed
        )
        with StopSignals() as stop:
            reel = Reel(env, camera, config, stop)
            write_reel(path, reel, player, console)
            reel.subtitles.write(path.with_suffix(".srt"), float(reel.num_frames / reel.frame_rate_hz))
    finally:
        env.close()
    return {
        "file": path,
        "step": step,
        "subtitles": path.with_suffix(".srt"),
        "frames": reel.num_frames,
        "seconds": float(reel.num_frames / reel.frame_rate_hz),
        "returns": reel.returns,
        "is_finished": not stop.has_come(),
    }


def write_reel(path: Path, reel: Reel, player: Player, console: Console) -> None:
    """Write what is played while it is played."""
    rate_hz = player.camera.sample_rate_hz
    write_video(
        path,
        watched(reel, reel.frames(player.shots(reel.config.num_episodes)), console),
        fps=reel.frame_rate_hz,
        audio=None if rate_hz is None else reel.sounds(),
        sample_rate_hz=rate_hz,
        video_options=QUICK.get(CODECS[path.suffix.lower()][0]),
    )


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
