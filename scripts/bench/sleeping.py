"""An environment that takes its time: 84 x 84 pictures, a sound, and 20 ms a step in which it only sleeps.

Not run by itself: ``--env sleeping:Sleeping`` of ``cluster.py`` and of ``checks/kill_collectors.py``.
"""

import contextlib
import os
import time
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

RATE_HZ, SAMPLES = 16_000, 800


class Sleeping(gymnasium.Env[dict[str, Any], int]):
    """Pays 1 for the action that the picture's brightness names; an episode has ``length`` steps.

    With a ``slow_file`` the first of several to make that file sleeps ten times as long.
    """

    metadata, sample_rate_hz = {"render_modes": []}, RATE_HZ

    def __init__(self, sleep_s: float = 0.02, length: int = 50, slow_file: str | None = None) -> None:
        self.sleep_s, self.length, self.slow_file = sleep_s, length, slow_file
        self.action_space = spaces.Discrete(2)
        self.observation_space = spaces.Dict(
            {
                "video": spaces.Box(0, 255, (84, 84), np.uint8),
                "audio": spaces.Box(-1.0, 1.0, (SAMPLES,), np.float32),
            }
        )
        self.spec = None
        self._right = self._taken = 0
        self._is_known = False  # whether it is the slow one

    def _seen(self) -> dict[str, Any]:
        self._right = int(self.np_random.integers(2))
        video = self.np_random.integers(0, 100, (84, 84), np.uint8) + np.uint8(100 * self._right)
        audio = 0.1 * np.sin(np.arange(SAMPLES) * (0.1 + 0.2 * self._right))
        return {"video": video, "audio": audio.astype(np.float32)}

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        super().reset(seed=seed)
        self._taken = 0
        return self._seen(), {}

    def step(self, action: int) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        if self.slow_file is not None and not self._is_known:
            self._is_known = True
            with contextlib.suppress(FileExistsError):
                os.close(os.open(self.slow_file, os.O_CREAT | os.O_EXCL))
                self.sleep_s *= 10
        time.sleep(self.sleep_s)
        reward, self._taken = float(action == self._right), self._taken + 1
        return self._seen(), reward, self._taken >= self.length, False, {}
