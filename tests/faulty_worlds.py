"""Worlds that fail in one way each, for tests: chosen by ``kind``, failing at step ``at`` of an episode."""

import os
import sys
import time
from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium import spaces


class Untransportable(Exception):
    """An error that cannot be sent from one process to another."""

    def __init__(self) -> None:
        super().__init__("its file\nis open")
        self.file = open(os.devnull)  # noqa: SIM115  this is what cannot be sent


class FaultyWorld(gymnasium.Env[dict[str, Any], int]):
    """Counts its steps in picture and sound; episodes of 12 steps.

    Args:
        kind: what goes wrong.
        at: step of the episode at which it does.
        once: file that is made at the first fault; while it exists there is none.
        after: episodes without it at first.
    """

    metadata = {"audio_sample_rate_hz": 16_000}
    action_space = spaces.Discrete(3)
    observation_space = spaces.Dict(
        video=spaces.Box(0, 255, (16, 16), np.uint8), audio=spaces.Box(-1, 1, (160,), np.float32)
    )

    def __init__(self, kind: str = "none", at: int = 5, once: str | None = None, after: int = 0) -> None:
        self.kind = kind
        self.at = at
        self.once = once
        self.num_left = after + 1

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=None if self.kind == "unseeded" else seed)
        self.num_left -= 1
        self.count, self.tone = 0, self.np_random.random()
        if self.kind == "no reset":
            raise RuntimeError("no reset today")
        if self.kind == "no reset apart":
            raise Untransportable
        if self.kind == "death at reset":
            os._exit(9)
        return self._observe(), {}

    def step(self, action: int) -> Any:
        self.count += 1
        reward, observation = float(action), self._observe(action)
        if self.count == self.at and self.num_left <= 0 and self._is_due():
            if self.kind == "raise":
                raise RuntimeError("the motor is stuck")
            if self.kind == "hang":
                time.sleep(60)
            if self.kind == "exit":
                sys.exit(0)
            if self.kind == "abort":
                os.abort()
            if self.kind == "reward":
                reward = float("nan")
            if self.kind == "big_reward":
                reward = 1e39
            if self.kind == "loud":
                observation["audio"] *= np.float32(1e30)
            if self.kind == "nan_sound":
                observation["audio"][3] = np.nan
            if self.kind == "shape":
                observation["video"] = observation["video"][:9]
            if self.kind == "dtype":
                observation["video"] = observation["video"].astype(np.float64)
        return observation, reward, self.count == 12, False, {}

    def close(self) -> None:
        if self.kind == "no close":
            raise RuntimeError("no close today")

    def _is_due(self) -> bool:
        if self.once is None:
            return True
        try:
            open(self.once, "x").close()
        except FileExistsError:
            return False
        return True

    def _observe(self, action: int = 0) -> dict[str, Any]:
        sound = np.sin(np.arange(160, dtype=np.float32) * (0.1 + self.tone)) * 0.5
        return {"video": np.full((16, 16), 7 * self.count + action, np.uint8), "audio": sound}


class ShortWorld(FaultyWorld):
    """Ends each episode at its first step; the first ``num_faults`` steps raise."""

    num_done = 0  # steps of all its instances, as it is made again after a fault

    def __init__(self, kind: str = "none", num_faults: int = 0) -> None:
        super().__init__(kind if num_faults else "none", at=1)
        self.num_faults = num_faults

    def step(self, action: int) -> Any:
        type(self).num_done += 1
        if self.kind == "raise" and self.num_done > self.num_faults:
            self.kind = "none"
        observation, reward, _, truncated, info = super().step(action)
        return observation, reward, True, truncated, info


class DifferentWorld(gymnasium.Env):
    """Has one action, or one sample of sound, more than the one made before: ``counter`` names a file."""

    metadata: ClassVar[dict[str, Any]] = {"audio_sample_rate_hz": 16_000}

    def __init__(self, counter: str, what: str) -> None:
        with Path(counter).open("ab", buffering=0) as made:
            made.write(b"x")
            number = made.tell() - 1  # asked after the write: two processes may open the file at once
        self.action_space = gymnasium.spaces.Discrete(2 + number * (what == "actions"))
        self.observation_space = gymnasium.spaces.Box(-1, 1, (400 + number * (what == "sound"),), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(self.observation_space.shape, np.float32), {}

    def step(self, action):
        return np.zeros(self.observation_space.shape, np.float32), 0.0, False, False, {}
