"""The base of all our worlds: their spaces, noise, and the course of an episode.

The rules of each are in a module of its own, looks and sounds in ``drawing``.
"""

from abc import abstractmethod
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from spl.envs.worlds.drawing import (
    JITTER,
    PICTURE_SIZE,
    SAMPLE_RATE_HZ,
    STEP_SAMPLES,
)

PICTURE_NOISE = 24  # grey levels, uniform from 0


SOUND_NOISE = 200  # int16 units, uniform around 0


WorldObservation = dict[str, NDArray[Any]]


Scenery = tuple[NDArray[np.uint8], NDArray[np.int16]]


class AudioVisualWorld(gymnasium.Env[WorldObservation, Any]):
    """A world of four actions that shows a grey picture and plays 0.1 s of sound at every step.

    Observation: ``video`` ``(64, 64)`` uint8 and ``audio`` ``(1600,)`` int16, mono at 16 kHz. An episode ends
    by ``terminated`` and is never truncated: the length belongs to the task, and no reward could follow.
    """

    sample_rate_hz = SAMPLE_RATE_HZ
    metadata = {
        "render_modes": ["rgb_array"],
        "render_fps": SAMPLE_RATE_HZ // STEP_SAMPLES,
        "audio_sample_rate_hz": SAMPLE_RATE_HZ,
    }

    def __init__(self, render_mode: str | None = None) -> None:
        if render_mode not in (None, "rgb_array"):
            raise ValueError(f"render_mode must be None or 'rgb_array', got {render_mode!r}")
        self.render_mode = render_mode
        video = spaces.Box(0, 255, (PICTURE_SIZE, PICTURE_SIZE), np.uint8)
        audio = spaces.Box(-32768, 32767, (STEP_SAMPLES,), np.int16)
        self.observation_space: spaces.Space[Any] = spaces.Dict(video=video, audio=audio)
        self.action_space = spaces.Discrete(4)
        self._video = np.zeros(video.shape, np.uint8)
        self._is_over = True

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[WorldObservation, dict[str, Any]]:
        """Begin an episode and return its first observation, sound included; there are no options to set."""
        super().reset(seed=seed)
        if options:
            raise ValueError(f"options must be empty, got {options}")
        self._is_over = False
        self._begin()
        return self._observe(), {}

    def step(self, action: Any) -> tuple[WorldObservation, float, bool, bool, dict[str, Any]]:
        """Act once; raise ``ValueError`` for an unknown action and ``ResetNeeded`` where no episode runs."""
        if not self.action_space.contains(action):
            raise ValueError(f"action must be an integer in 0..3, got {action!r}")
        if self._is_over:
            raise gymnasium.error.ResetNeeded("the episode is over or has not begun; call reset() first")
        reward, self._is_over = self._advance(int(action))
        return self._observe(), reward, self._is_over, False, {}

    def render(self) -> NDArray[np.uint8] | None:
        """Return the newest picture as ``(64, 64, 3)`` uint8 for humans, or None without a render mode."""
        return None if self.render_mode is None else np.repeat(self._video[:, :, None], 3, axis=2)

    @abstractmethod
    def get_action_meanings(self) -> list[str]:
        """Return what the actions are called, as ALE games do."""

    @property
    @abstractmethod
    def best_return(self) -> float:
        """The expected undiscounted return of an episode under ``oracle_action``."""

    @abstractmethod
    def oracle_action(self) -> int:
        """Return the best action in the true state, the first of several."""

    @abstractmethod
    def _begin(self) -> None:
        """Draw the first state of an episode."""

    @abstractmethod
    def _advance(self, action: int) -> tuple[float, bool]:
        """Draw the next state; return the reward and whether the task is over."""

    @abstractmethod
    def _scenery(self) -> Scenery:
        """Return the state's picture, ``(64, 72)`` with jitter, and its sound of at least 1600 samples."""

    def _observe(self) -> WorldObservation:
        picture, sound = self._scenery()
        draw = self.np_random.integers
        left, start = draw(2 * JITTER + 1), draw(len(sound) - STEP_SAMPLES + 1)
        video = draw(PICTURE_NOISE, size=(PICTURE_SIZE, PICTURE_SIZE), dtype=np.uint8)
        video += picture[:, left : left + PICTURE_SIZE]  # no drawing is brighter than 255 - PICTURE_NOISE
        audio = draw(-SOUND_NOISE, SOUND_NOISE, size=STEP_SAMPLES, dtype=np.int16, endpoint=True)
        audio += sound[start : start + STEP_SAMPLES]
        self._video = video.copy()
        return {"video": video, "audio": audio}
