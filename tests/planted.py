"""A healthy world and its ailing children, one planted fault each; the checker's process imports them."""

import os
import time

import gymnasium
import numpy as np
from gymnasium import spaces

RATE_HZ, NUM_SAMPLES, NUM_STEPS = 8_000, 400, 12
SOUND = spaces.Box(-32768, 32767, (NUM_SAMPLES,), np.int16)


class World(gymnasium.Env):
    """Healthy: noise to see and to hear, 12 steps an episode, the last one truncated."""

    metadata = {"render_modes": [], "render_fps": 20, "audio_sample_rate_hz": RATE_HZ}
    action_space = spaces.Discrete(3, start=1)
    picture_space = spaces.Box(0, 255, (16, 16), np.uint8)
    sound_space = SOUND

    def __init__(self, frame_skip=1):
        self.frame_skip = frame_skip
        self.observation_space = spaces.Dict(picture=self.picture_space, sound=self.sound_space)
        self.num_done = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.num_done = 0
        return {"picture": self.picture(), "sound": self.sound()}, {}

    def step(self, action):
        assert self.action_space.contains(action)
        self.num_done += 1
        return {"picture": self.picture(), "sound": self.sound()}, self.reward(), *self.ends(), {}

    def picture(self):
        return self.np_random.integers(1, 256, size=(16, 16), dtype=np.uint8)

    def sound(self):
        return self.np_random.integers(-9_000, 9_000, size=self.sound_space.shape, dtype=np.int16)

    def reward(self):
        return float(self.np_random.random())

    def ends(self):
        return False, self.num_done == NUM_STEPS


class Silent(World):
    def sound(self):
        return np.zeros(NUM_SAMPLES, np.int16)


class Constant(World):
    def sound(self):
        return np.full(NUM_SAMPLES, 700, np.int16)


class Stuck(World):
    def sound(self):
        return np.arange(NUM_SAMPLES, dtype=np.int16)


class Offset(World):
    def sound(self):
        return super().sound() + np.int16(12_000)


class Rests(World):
    """Unsigned sound that rests at 128 and begins at 0, as ALE's."""

    sound_space = spaces.Box(0, 255, (NUM_SAMPLES,), np.uint8)

    def sound(self):
        level = 128 if self.num_done else 0
        tone = np.arange(NUM_SAMPLES) % 7 if self.num_done == 5 else 0
        return np.full(NUM_SAMPLES, level + tone, np.uint8)


class Skips(World):
    """Four frames a step, the sound of one."""

    def __init__(self, frame_skip=4):
        super().__init__(frame_skip)


class Blank(World):
    def picture(self):
        return super().picture() * np.uint8(self.num_done < NUM_STEPS)

    def sound(self):
        return super().sound() * np.int16(self.num_done < NUM_STEPS)


class Ends(World):
    """As healthy, but its task ends."""

    def ends(self):
        return self.num_done == NUM_STEPS, False


class Both(World):
    def ends(self):
        return (self.num_done == NUM_STEPS,) * 2


class Shape(World):
    def picture(self):
        return super().picture()[: 15 if self.num_done == 7 else 16]


class Dtype(World):
    def sound(self):
        return super().sound().astype(np.int64)


class NoNumber(World):
    sound_space = spaces.Box(-1, 1, (NUM_SAMPLES,), np.float32)

    def sound(self):
        noise = self.np_random.normal(size=NUM_SAMPLES).astype(np.float32) / 4
        noise[3] = np.nan if self.num_done == 9 else 0
        return noise


class NoReward(World):
    def reward(self):
        return np.inf if self.num_done == 2 else 0.0


class Bright(World):
    picture_space = spaces.Box(0, 1, (16, 16), np.float32)

    def picture(self):
        return super().picture().astype(np.float32)


class Unseeded(World):
    def picture(self):
        return np.random.default_rng().integers(1, 256, size=(16, 16), dtype=np.uint8)


class Raises(World):
    def ends(self):
        return False, 1 / (NUM_STEPS - self.num_done) < 0


class NoRate(World):
    metadata = {"render_fps": 20}


class Leftover(World):
    """Plays the first episode of a new environment otherwise than all later ones."""

    num_resets = 0

    def reset(self, *, seed=None, options=None):
        self.num_resets += 1
        return super().reset(seed=seed)

    def reward(self):
        return float(self.num_resets > 1)


class Built(World):
    """Repeats in one environment, and another one is another."""

    num_built = 0

    def __init__(self):
        super().__init__()
        Built.num_built += 1
        self.level = Built.num_built

    def picture(self):
        picture = np.full((16, 16), self.level, np.uint8)
        picture[0, 0] = self.num_done
        return picture


class Aborts(World):
    def ends(self):
        if self.num_done == 6:
            os.write(2, b"libear: assertion failed: gain > 0\n")
            os.abort()
        return False, False


class Hangs(World):
    def ends(self):
        time.sleep(3_600 if self.num_done == 4 else 0)
        return False, False


class FailsToClose(World):
    def close(self):
        raise ZeroDivisionError("no motor")


class Exits(World):
    def ends(self):
        if self.num_done == 4:
            os._exit(3)
        return False, False
