"""A robot of your own: a camera, a microphone, seven joint angles, seven motors.

spl train agent --env examples.robot:Robot-v0
"""

import gymnasium
import numpy as np
from gymnasium import spaces

RATE_HZ, NUM_SAMPLES, NUM_STEPS = 8_000, 800, 30


class Robot(gymnasium.Env):
    """A lamp, left or right, says where four joints shall be, a tone, low or high, where the other three."""

    sample_rate_hz = RATE_HZ
    action_space = spaces.Box(-1, 1, (7,))  # of a quarter radian a step
    observation_space = spaces.Dict(
        camera=spaces.Box(0, 255, (48, 48, 3), np.uint8),
        microphone=spaces.Box(-1, 1, (NUM_SAMPLES,)),
        joints=spaces.Box(-1, 1, (7,)),
    )

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.joints, self.step_number = self.np_random.uniform(-1, 1, 7), 0
        self.lamp, self.tone = self.np_random.choice([-0.5, 0.5], 2)
        return self.observe(), {}

    def step(self, action):
        before = self.error()
        self.joints = np.clip(self.joints + 0.25 * np.asarray(action), -1, 1)
        self.step_number += 1
        return self.observe(), 10 * (before - self.error()), False, self.step_number == NUM_STEPS, {}

    def error(self):
        return np.abs(self.joints - np.repeat([self.lamp, self.tone], [4, 3])).mean()

    def observe(self):
        camera, left = np.zeros((48, 48, 3), np.uint8), round(18 + 24 * self.lamp)
        camera[18:30, left : left + 12] = 255, 220, 0
        pitch_hz = 1_000 + 1_000 * self.tone
        sound = 0.5 * np.sin(2 * np.pi * pitch_hz / RATE_HZ * np.arange(NUM_SAMPLES))
        arrays = {"camera": camera, "microphone": sound, "joints": self.joints}
        return {key: array.astype(self.observation_space[key].dtype) for key, array in arrays.items()}


gymnasium.register("Robot-v0", Robot)
