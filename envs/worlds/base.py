"""The base of all our worlds: their spaces, noise, and the course of an episode.

The rules of each are in a module of its own, looks and sounds in ``drawing``.
"""

from abc import abstractmethod
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from spl.envs.worlds.drawing import PICTURE_SIZE, SAMPLE_RATE_HZ, STEP_SAMPLES

PICTURE_NOISE = 24  # grey levels, uniform from 0


SOUND_NOISE = 200  # int16 units, uniform around 0


WorldObservation = dict[str, NDArray[Any]]


Scenery = tuple[NDArray[np.uint8], NDArray[np.int16]]


class AudioVisualWorld(gymnasium.Env[WorldObservation, Any]):
    """A world that shows a grey picture and plays 0.1 s of sound at every step.

    Observation: ``video`` ``(64, 64)`` uint8 and ``audio`` int16 at 16 kHz, ``(1600,)`` mono or ``(1600, 2)``
    left and right. An episode ends by ``terminated`` and is never truncated: the length belongs to the task,
    and no reward could follow.

    Args:
        render_mode: None, or ``rgb_array`` for pictures.
        num_actions: that it takes.
        num_channels: of its sound, 1 or 2.
    """

    sample_rate_hz = SAMPLE_RATE_HZ
    metadata = {
        "render_modes": ["rgb_array"],
        "render_fps": SAMPLE_RATE_HZ // STEP_SAMPLES,
        "audio_sample_rate_hz": SAMPLE_RATE_HZ,
    }

    def __init__(
        self, render_mode: str | None = None, *, num_actions: int = 4, num_channels: int = 1
    ) -> None:
        if render_mode not in (None, "rgb_array"):
            raise ValueError(f"render_mode must be None or 'rgb_array', got {render_mode!r}")
        self.render_mode = render_mode
        video = spaces.Box(0, 255, (PICTURE_SIZE, PICTURE_SIZE), np.uint8)
        channels = () if num_channels == 1 else (num_channels,)
        audio = spaces.Box(-32768, 32767, (STEP_SAMPLES, *channels), np.int16)
        self.observation_space: spaces.Space[Any] = spaces.Dict(video=video, audio=audio)
        self.action_space: spaces.Space[Any] = spaces.Discrete(num_actions)
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
            space = self.action_space
            among = f"an integer in 0..{space.n - 1}" if isinstance(space, spaces.Discrete) else f"in {space}"
            raise ValueError(f"action must be {among}, got {action!r}")
        if self._is_over:
            raise gymnasium.error.ResetNeeded("the episode is over or has not begun; call reset() first")
        reward, self._is_over = self._advance(np.asarray(action).item())
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
    def _advance(self, action: Any) -> tuple[float, bool]:
        """Draw the next state; return the reward and whether the task is over."""

    @abstractmethod
    def _scenery(self) -> Scenery:
        """Return the state's picture and its sound; a random part of what is too long of either is taken.

        Returns:
            ``(64, 64 or more)`` with no pixel above 231, and ``(1600 or more,)`` or ``(1600 or more, C)``.
        """

    def _observe(self) -> WorldObservation:
        picture, sound = self._scenery()
        draw = self.np_random.integers
        left, start = draw(picture.shape[1] - PICTURE_SIZE + 1), draw(len(sound) - STEP_SAMPLES + 1)
        video = draw(PICTURE_NOISE, size=(PICTURE_SIZE, PICTURE_SIZE), dtype=np.uint8)
        video += picture[:, left : left + PICTURE_SIZE]  # no drawing is brighter than 255 - PICTURE_NOISE
        noise = draw(-SOUND_NOISE, SOUND_NOISE, size=STEP_SAMPLES, dtype=np.int16, endpoint=True)
        audio = sound[start : start + STEP_SAMPLES] + (noise if sound.ndim == 1 else noise[:, None])
        self._video = video.copy()
        return {"video": video, "audio": audio}
