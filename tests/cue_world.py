"""A world in which what is heard once must be remembered."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

NUM = 400  # samples of a step
STEPS = 8


class Cue(gymnasium.Env[Any, Any]):
    """One of two tones sounds at the first step; at the last, the action that it named earns 1."""

    sample_rate_hz = 8_000
    observation_space = spaces.Dict(
        image=spaces.Box(0, 255, (36, 36, 1), np.uint8), audio=spaces.Box(-1, 1, (NUM,), np.float32)
    )
    action_space = spaces.Discrete(2)

    def _observation(self) -> dict[str, Any]:
        tone = np.sin(np.arange(NUM) * (0.2 + 1.0 * self.cue)) * 0.5
        sound = tone if self.age == 0 else np.zeros(NUM)
        picture = np.full((36, 36, 1), 200 if self.age == STEPS - 1 else 50, np.uint8)
        return {"image": picture, "audio": sound.astype(np.float32)}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.age, self.cue = 0, int(self.np_random.integers(2))
        return self._observation(), {}

    def step(self, action):
        self.age += 1
        is_over = self.age == STEPS
        return self._observation(), float(is_over and action == self.cue), is_over, False, {}
