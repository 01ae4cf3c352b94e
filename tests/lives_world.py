"""A world that counts lives, as ALE's games do."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

LIVES = 3
LIFE = 4  # steps of a life
STEPS = LIVES * LIFE  # of an episode


class Lives(gymnasium.Env[Any, Any]):
    """A step earns its number; every fourth costs a life, and the third life is the last."""

    observation_space = spaces.Box(0, 255, (36, 36, 1), np.uint8)
    action_space = spaces.Discrete(2)

    def _told(self) -> tuple[Any, dict[str, Any]]:
        return np.full((36, 36, 1), self.age, np.uint8), {"lives": LIVES - self.age // LIFE}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.age = 0
        return self._told()

    def step(self, action):
        self.age += 1
        picture, info = self._told()
        return picture, float(self.age), self.age == STEPS, False, info
