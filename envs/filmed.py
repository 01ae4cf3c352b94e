"""A wrapper that keeps every frame of an environment with its whole sound, before preprocessing.

What an agent is given of them is the adapter's work, which stands around the camera.
"""

from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from typing import Any, NamedTuple

import gymnasium
import numpy as np
from numpy.typing import NDArray

from spl.config.errors import UsageError
from spl.envs.adapter import AudioVisualEnv
from spl.envs.api_checks import AnswerError, number_of, put_away
from spl.envs.chosen_streams import (
    audio_processor_of,
    declared_by,
    sample_rate_of,
    streams_of,
    video_processor_of,
)
from spl.envs.config import EnvConfig
from spl.envs.layouts import PictureForm
from spl.envs.registry import make_raw, settle

FRAME_RATE_HZ = 30  # of an environment that does not tell its own


class Moment(NamedTuple):
    """One frame of the environment, and what came with it."""

    picture: NDArray[np.uint8] | None  # (H, W, 3); None: there is nothing to see
    sound: NDArray[np.float32] | None  # (N, C) in -1..1, at rest at 0; None: there is nothing to hear
    reward: float


class Camera(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Keeps every frame of an environment until it is taken; passes everything on as it is.

    The picture is the observed one. Where that has no colours, or there is none, it is what ``render``
    returns, if that has as many rows and columns: another view would not fit what is reported of the observed
    one. The sound has all its channels and its own rate.

    ``frame_rate_hz`` is such that each frame lasts as long as its sound; of a silent environment it is what
    that tells (``frame_rate_hz``, else ``metadata["render_fps"]``).

    Args:
        env: as its author wrote it, not skipping frames.
        config: chooses the streams.

    Raises:
        ValueError: if the environment has no usable stream, or a sound of unknown rate.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], config: EnvConfig) -> None:
        super().__init__(env)
        self.streams = streams_of(env, config)
        self._video_processor = self._audio_processor = self.sample_rate_hz = None
        if self.streams.video is not None:
            self._video_processor = video_processor_of(self.streams.video, config, None, grey=False)
        if self.streams.audio is not None:
            self._audio_processor = audio_processor_of(self.streams.audio, env, config, stereo=True)
            self.sample_rate_hz = sample_rate_of(env, config)
            self.frame_rate_hz = Fraction(self.sample_rate_hz, self._audio_processor.num_samples)
        else:
            rates = declared_by(env, "frame_rate_hz"), (env.metadata or {}).get("render_fps")
            rate = next((rate for rate in rates if rate), FRAME_RATE_HZ)
            self.frame_rate_hz = Fraction(rate).limit_denominator(1_000)
        self._moments: list[Moment] = []

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, Any]:
        """Begin an episode; frames that nobody took are forgotten."""
        raw, info = self.env.reset(seed=seed, options=options)
        self._moments = [self._moment(raw, info, 0.0)]
        return raw, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Take one action for one frame."""
        raw, reward, terminated, truncated, info = self.env.step(action)
        self._moments.append(self._moment(raw, info, number_of(reward)))
        return raw, reward, terminated, truncated, info

    def take(self) -> list[Moment]:
        """Return the frames since the last call, oldest first."""
        taken, self._moments = self._moments, []
        return taken

    def _moment(self, raw: Any, info: dict[str, Any], reward: float) -> Moment:
        sound = None
        if self._audio_processor is not None and self.streams.audio is not None:
            wave = self._audio_processor(self.streams.audio.part(raw, info))
            sound = np.clip(wave.T / self._audio_processor.loudest, -1.0, 1.0)  # (N, C)
        return Moment(self._picture(raw, info), sound, reward)

    def _picture(self, raw: Any, info: dict[str, Any]) -> NDArray[np.uint8] | None:
        seen = None
        if self._video_processor is not None and self.streams.video is not None:
            seen = self._video_processor(self.streams.video.part(raw, info))
            if len(seen) == 3:
                return np.ascontiguousarray(np.moveaxis(seen, 0, 2))  # (H, W, 3)
        shown: Any = self.env.render() if self.env.render_mode == "rgb_array" else None
        is_picture = isinstance(shown, np.ndarray) and shown.ndim == 3 and shown.shape[2] == 3
        if is_picture and (seen is None or shown.shape[:2] == seen.shape[1:]):
            return np.array(shown, np.uint8)
        return None if seen is None else np.repeat(seen[0][:, :, None], 3, axis=2)


def make_filmed(config: EnvConfig) -> tuple[AudioVisualEnv, Camera]:
    """Return the environment of ``config``, seen and heard, and the camera in it.

    It is asked to render where its observations have no colours and it says that it can.

    Raises:
        UsageError: if it is unknown, cannot be made, or has nothing that serves.
    """
    config = settle(config)
    try:
        env = make_raw(config)
    except AnswerError as error:
        raise UsageError(f"{config.id}: {error}") from error
    try:
        video = streams_of(env, config).video
        is_grey = video is None or not isinstance(video.form, PictureForm) or video.form.num_channels == 1
        if is_grey and "rgb_array" in (env.metadata or {}).get("render_modes", ()):
            with suppress(UsageError):  # one that takes no render_mode is filmed as it is observed
                rendering = make_raw(replace(config, kwargs={"render_mode": "rgb_array", **config.kwargs}))
                put_away(env)
                env = rendering
        camera = Camera(env, config)
        return AudioVisualEnv(camera, config), camera
    except ValueError as error:
        put_away(env)
        raise UsageError(str(error)) from error
