"""What turns an agent's shots into the frames of a film, or of a live window, each with its sound."""

from collections import deque
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from spl.agents.evaluation.decision import Reason
from spl.agents.evaluation.rollout import Shot
from spl.agents.film.config import FilmConfig
from spl.agents.film.frame import Screen, View
from spl.agents.film.sound_strip import Strip
from spl.agents.film.subtitles import Subtitles
from spl.agents.names import ActionNames
from spl.config.errors import RunError
from spl.envs.adapter import AudioVisualEnv
from spl.envs.filmed import Camera, Moment
from spl.processes.signals import StopSignals
from spl.records import Action

STRIP_S = 4.0  # of sound to be seen at a time, and of values whose bars share one range


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
        self._frame_samples = round((camera.sample_rate_hz or 0) / self.frame_rate_hz)  # while one is shown
        self.num_frames, self.returns = 0, list[float]()
        self.num_ended = 0  # episodes, of which the whole is filmed
        self.failure: RunError | None = None  # of the environment
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
        """Yield each frame's picture ``(H, W, 3)`` until there are enough, or no more.

        An environment that fails ends it, as ``failure`` tells.

        Raises:
            KeyboardInterrupt: if it is stopped before the first: an earlier film stays.
            RunError: if the environment fails before the first.
        """
        try:
            for shot in shots:
                self.take_in(shot)
                for number, moment in enumerate(shot.moments, start=1):
                    if self.stop.has_come() and not self.num_frames:
                        raise KeyboardInterrupt
                    if self.num_frames == self.most_frames or self.stop.has_come():
                        return
                    self.count(moment)
                    if moment.sound is not None:
                        self._sounds.append(self._filled(moment.sound))
                    yield self.draw(shot, moment, number / len(shot.moments))
                self.num_ended += shot.reason is None
        except RunError as error:
            if not self.num_frames:
                raise
            self.failure = error

    def sounds(self) -> Iterator[NDArray[np.float32]]:
        """Yield the sound ``(N, C)`` of the frames drawn so far: none is asked for before its frame.

        It ends once it is asked for more; a frame's sound lasts as long as the frame, so that nobody asks.
        """
        while self._sounds:
            yield self._sounds.popleft()

    def _filled(self, sound: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return a frame's sound, followed by silence where its chunk is shorter than the frame is shown."""
        return np.pad(sound, ((0, max(0, self._frame_samples - len(sound))), (0, 0)))

    def take_in(self, shot: Shot) -> None:
        """Take in what a shot brings, before its frames are drawn."""
        if shot.episode == len(self.returns):
            self.returns.append(0.0)
        self.subtitles.take_in(shot, float(self.num_frames / self.frame_rate_hz))
        if shot.reason is not None and shot.reason.values.size:
            values = shot.reason.values
            self._ranges.append((float(values.min()), float(values.max())))
        if self._strip is not None and shot.levels is not None:
            if shot.is_first:
                self._strip.begin()
            self._strip.push(shot.levels)
            if shot.reason is not None and shot.reason.heard is not None:
                self._strip.weigh(shot.reason.heard)
                self._has_track = True

    def count(self, moment: Moment) -> None:
        """Take in that a frame is shown."""
        self.num_frames += 1
        self.returns[-1] += moment.reward

    def draw(self, shot: Shot, moment: Moment, share: float) -> NDArray[np.uint8]:
        """Return the picture ``(H, W, 3)`` of a frame, when ``share`` of its step has passed."""
        levels = heard = None
        if self._strip is not None:
            levels, heard = self._strip.window(share)
            heard = heard if self._has_track else None
        reason, action = shot.reason, self.action_of(shot.reason)
        lows, highs = zip(*(self._ranges or [(0.0, 1.0)]), strict=True)
        now_s = float(self.num_frames / self.frame_rate_hz)
        view = View(
            picture=moment.picture,
            seen=None if reason is None else reason.seen,
            levels=levels,
            heard=heard,
            values=None if reason is None or not reason.values.size else reason.values,
            value_range=(min(lows), max(highs)),
            chosen=() if action is None else self.names.places(action),
            action="" if action is None else self.names.of(action),
            shares=None if reason is None else reason.shares,
            present=shot.present,
            total=self.returns[-1],
            line=self.line(shot, now_s),
        )
        if self._screen is None:
            self._screen = self._screen_for(moment.picture)
        return self._screen.draw(view)

    def action_of(self, reason: Reason | None) -> Action | None:
        """Return the action that is shown."""
        return None if reason is None else reason.action

    def line(self, shot: Shot, now_s: float) -> str:
        """Return what stands below the title."""
        return f"episode {shot.episode + 1} of {self.config.num_episodes} · {now_s:.1f} s"

    def _screen_for(self, picture: NDArray[np.uint8] | None) -> Screen:
        return Screen(
            self.title,
            self.names.labels,
            picture_size=None if picture is None else (picture.shape[0], picture.shape[1]),
            scale=self.config.scale,
            strip_s=None if self._strip is None else STRIP_S,
        )
