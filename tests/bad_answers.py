"""Environments that answer ``reset`` and ``step`` in other forms than Gymnasium's, and some fixed twins."""

import os
import sys

import gymnasium
import numpy as np
from planted import NUM_SAMPLES, NUM_STEPS, Blank, Rests, Skips, World

GIVEN = {  # what a step gives as its reward
    "array of one": np.array([1.0], np.float32),
    "array of no axes": np.array(1.0),
    "numpy scalar": np.float32(1.0),
    "numpy int": np.int64(1),
    "bool": True,
    "numpy bool": np.bool_(True),
    "int": 1,
    "list of one": [1.0],
    "none": None,
    "text": "1.0",
    "complex": 1j,
    "two": np.array([1.0, 2.0]),
    "empty": np.array([]),
    "ragged": [[1.0], [2.0, 3.0]],
    "dict": {"reward": 1.0},
    "NaN": float("nan"),
    "NaN array": np.array([np.nan]),
    "large": 1e39,
    "integer beyond floats": 10**400,
}
ENDS = {  # and as its flags
    "numpy": (np.bool_(False), np.bool_(False)),
    "ints": (0, 0),
    "arrays": (np.array([False]), np.array(False)),
    "none": (None, False),
    "text": ("False", False),
    "two": (False, 2),
    "info": (False, {}),
    "both axes": (np.array([False, False]), False),
}


class Given(World):
    """Gives one reward and one pair of end flags until the time limit."""

    def __init__(self, reward="int", ends="numpy"):
        super().__init__()
        self.given, self.flags = GIVEN[reward], ENDS[ends]

    def reward(self):
        return self.given

    def ends(self):
        return self.flags if self.num_done < NUM_STEPS else (False, True)


class NoSeed(World):
    def reset(self):
        return super().reset()


class NoOptions(World):
    def reset(self, seed=None):
        return super().reset(seed=seed)


class Keywords(World):
    """Takes whatever it is given: right."""

    def reset(self, **kwargs):
        return super().reset(**kwargs)


class NoSeedAround(gymnasium.Wrapper):
    """A wrapper that takes no seed around an environment that does."""

    def __init__(self):
        super().__init__(World())

    def reset(self):
        return self.env.reset()


class OldReset(World):
    def reset(self, *, seed=None, options=None):
        return super().reset(seed=seed)[0]


class OldStep(World):
    def step(self, action):
        observation, reward, terminated, truncated, info = super().step(action)
        return observation, reward, terminated or truncated, info


class NoInfo(World):
    """Gives None as its info: it is not needed."""

    def reset(self, *, seed=None, options=None):
        return super().reset(seed=seed)[0], None

    def step(self, action):
        return *super().step(action)[:4], None


class InfoForTruncated(World):
    def step(self, action):
        observation, reward, terminated, _, info = super().step(action)
        return observation, reward, terminated, info


class NoKey(World):
    def step(self, action):
        observation, *rest = super().step(action)
        del observation["sound"]
        return observation, *rest


class OtherKey(World):
    def reset(self, *, seed=None, options=None):
        observation, info = super().reset(seed=seed)
        return {"image": observation["picture"], "sound": observation["sound"]}, info


class NotADict(World):
    def step(self, action):
        observation, *rest = super().step(action)
        return observation["picture"], *rest


class NoObservation(World):
    def step(self, action):
        return None, *super().step(action)[1:]


class Reused(World):
    """Writes into the same arrays at every step: right, as they are copied."""

    def __init__(self):
        super().__init__()
        self.both = {"picture": np.zeros((16, 16), np.uint8), "sound": np.zeros(NUM_SAMPLES, np.int16)}

    def reset(self, *, seed=None, options=None):
        observation, info = super().reset(seed=seed)
        return self.written(observation), info

    def step(self, action):
        observation, *rest = super().step(action)
        return self.written(observation), *rest

    def written(self, observation):
        for key, array in observation.items():
            self.both[key][:] = array
        return self.both


class Exits(World):
    """Calls ``sys.exit`` in its fourth step, as a closed window often does."""

    def ends(self):
        if self.num_done == 4:
            sys.exit("window closed")
        return super().ends()


class Leaves(World):
    """Ends the process with ``os._exit``."""

    def ends(self):
        if self.num_done == 4:
            os._exit(3)
        return super().ends()


class FailsInLibrary(World):
    """Raises in numpy, called from here."""

    def reward(self):
        return np.linalg.inv(np.zeros((2, 2)))[0, 0]  # this line


class FailsAtReset(World):
    def reset(self, *, seed=None, options=None):
        raise RuntimeError("no \x1b[2J\nreset today")


class Unseeded(World):
    """Draws from a generator that no seed reaches."""

    def __init__(self):
        super().__init__()
        self.generator = np.random.default_rng()

    def picture(self):
        return self.generator.integers(1, 256, size=(16, 16), dtype=np.uint8)


class NotPassedOn(World):
    """Draws from ``np_random``, which it does not seed."""

    def reset(self, *, seed=None, options=None):
        return super().reset()


class RestsAtReset(Rests):
    """``Rests`` with a first chunk at rest."""

    def sound(self):
        tone = np.arange(NUM_SAMPLES) % 7 if self.num_done == 5 else 0
        return np.full(NUM_SAMPLES, 128 + tone, np.uint8)


class Hums(Rests):
    """Unsigned, and about 200 where 128 is expected."""

    def sound(self):
        return self.np_random.integers(190, 210, size=NUM_SAMPLES, dtype=np.uint8)


class NotBlank(Blank):
    """``Blank`` that repeats the picture before the last."""

    def picture(self):
        return World.picture(self)

    def sound(self):
        return World.sound(self)


class Joined(Skips):
    """``Skips`` with the sound of every frame, joined."""

    def __init__(self, frame_skip=4):
        self.sound_space = gymnasium.spaces.Box(-32768, 32767, (NUM_SAMPLES * frame_skip,), np.int16)
        super().__init__(frame_skip)


class NoLimit(World):
    """Divides by how many steps are left, and gives infinity at the last."""

    def reward(self):
        with np.errstate(divide="ignore"):
            return float(np.float64(1) / (NUM_STEPS - self.num_done))
