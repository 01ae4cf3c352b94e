"""Worlds as people bring them: each with a picture or sound in another form or range, or with more."""

import os
import time
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

NUM = 400


class Plain(gymnasium.Env[Any, Any]):
    """Which of three states it is in is seen and heard, and decides which action earns 1."""

    sample_rate_hz = 8_000
    picture_space = spaces.Box(0, 255, (48, 48, 3), np.uint8)
    sound_space = spaces.Box(-1, 1, (NUM,), np.float32)
    action_space = spaces.Discrete(3)

    def __init__(self) -> None:
        self.observation_space = spaces.Dict(image=self.picture_space, audio=self.sound_space)
        self.age = self.state = 0

    def picture(self) -> np.ndarray:
        return np.full(self.picture_space.shape, 40 + 60 * self.state, self.picture_space.dtype)

    def sound(self) -> np.ndarray:
        return (np.sin(np.arange(NUM) * (0.05 + 0.2 * self.state)) * 0.3).astype(np.float32)

    def observation(self) -> dict[str, Any]:
        return {"image": self.picture(), "audio": self.sound()}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.age, self.state = 0, int(self.np_random.integers(3))
        return self.observation(), {}

    def step(self, action):
        is_right, self.age = action == self.state, self.age + 1
        self.state = int(self.np_random.integers(3))
        return self.observation(), float(is_right), self.age >= 16, False, {}


class Arm(Plain):
    """It is moved by two joints and a grip, which earn apart: a Dict of actions."""

    action_space = spaces.Dict(
        grip=spaces.Discrete(2),
        joints=spaces.Box(np.array([-1, 0], np.float32), np.array([1, 2], np.float32)),
    )

    def step(self, action):
        if not self.action_space.contains(action):
            raise ValueError(f"{action!r} is not an action")
        seen = self.state
        _, _, is_over, _, info = super().step(None)
        reward = float(action["joints"][0]) * (seen - 1) - float(action["joints"][1]) + action["grip"]
        return self.observation(), reward, is_over, False, info


class Float255(Plain):
    """Floats in 0..255."""

    picture_space = spaces.Box(0, 255, (48, 48, 3), np.float32)


class Centred(Plain):
    """Floats in -1..1."""

    picture_space = spaces.Box(-1, 1, (48, 48, 3), np.float32)

    def picture(self):
        return np.full((48, 48, 3), -0.9 + 0.4 * self.state, np.float32)


class Unbounded(Centred):
    """The same, of a space that says nothing."""

    picture_space = spaces.Box(-np.inf, np.inf, (48, 48, 3), np.float32)


class Aborts(Unbounded):
    """The same, and it ends its process at its third step."""

    def step(self, action):
        if self.age == 2:
            os.abort()
        return super().step(action)


class Hangs(Unbounded):
    """The same, and its third step takes a minute."""

    def step(self, action):
        if self.age == 2:
            time.sleep(60.0)
        return super().step(action)


class LoudFloats(Plain):
    """Floats that hold int16 levels."""

    sound_space = spaces.Box(-32768, 32767, (NUM,), np.float32)

    def sound(self):
        return super().sound() * 30_000


class UnboundedLoud(LoudFloats):
    """The same, of a space that says nothing."""

    sound_space = spaces.Box(-np.inf, np.inf, (NUM,), np.float32)


class StateDecides(Plain):
    """A state vector beside picture and sound."""

    def __init__(self) -> None:
        super().__init__()
        vector = spaces.Box(0, 1, (3,), np.float32)
        self.observation_space = spaces.Dict(**self.observation_space.spaces, vector=vector)

    def observation(self):
        vector = np.eye(3, dtype=np.float32)[self.state]
        return {**super().observation(), "vector": vector}


class Spectrogram(Plain):
    """A sound in a form that is not read: the agent would be deaf."""

    sound_space = spaces.Box(0, 1, (64, 32), np.float32)

    def sound(self):
        return np.full((64, 32), 0.2 * self.state, np.float32)


class Beyond(Plain):
    """Pictures brighter than their bounds say."""

    picture_space = spaces.Box(0, 1, (48, 48, 3), np.float32)

    def picture(self):
        return np.full((48, 48, 3), 0.4 + 0.4 * self.state, np.float32)


class Stacked(Plain):
    """Four frames in one array as (H, W, 4), which is also the form of red, green, blue and alpha."""

    picture_space = spaces.Box(0, 255, (48, 48, 4), np.uint8)

    def picture(self):
        if self.age == 0:
            self.frames = np.zeros((48, 48, 4), np.uint8)
        frame = np.full((48, 48, 1), 40 + 60 * self.state, np.uint8)
        self.frames = np.concatenate([self.frames[:, :, 1:], frame], axis=2)
        return self.frames.copy()


class Alpha(Plain):
    """Red, green, blue and alpha with the channels first, which is also the form of four stacked frames."""

    picture_space = spaces.Box(0, 255, (4, 48, 48), np.uint8)

    def picture(self):
        picture = np.full((4, 48, 48), 40 + 60 * self.state, np.uint8)
        picture[3] = 255
        return picture


class Faint(Plain):
    """Bounds of 0..255 around floats in 0..1."""

    picture_space = spaces.Box(0, 255, (48, 48, 3), np.float32)

    def picture(self):
        return super().picture() / np.float32(255)


class Still(Plain):
    """A picture that never changes."""

    def picture(self):
        return np.full((48, 48, 3), 100, np.uint8)


class Heard(Plain):
    """Is heard alone; its picture is what it draws."""

    metadata = {"render_modes": ["human", "rgb_array"]}

    def __init__(self, render_mode: str | None = None, shade: int = 40) -> None:
        super().__init__()
        self.render_mode, self.shade = render_mode, shade
        self.observation_space = self.sound_space

    def observation(self):
        return self.sound()

    def render(self):
        return np.full((48, 64, 3), self.shade + 60 * self.state, np.uint8)


class HeardOddly(Heard):
    """Draws floats."""

    def render(self):
        return super().render() / 255


class Doubled(gymnasium.Wrapper):
    """Doubles rewards."""

    def step(self, action):
        observation, reward, *others = self.env.step(action)
        return observation, 2 * reward, *others


class Raised(gymnasium.Wrapper):
    """Raises rewards by an amount."""

    def __init__(self, env: gymnasium.Env, amount: float = 1.0) -> None:
        super().__init__(env)
        self.amount = amount

    def step(self, action):
        observation, reward, *others = self.env.step(action)
        return observation, reward + self.amount, *others


class Forgetful(gymnasium.Wrapper):
    """Returns four values."""

    def step(self, action):
        return self.env.step(action)[:4]


class Fussy(gymnasium.Wrapper):
    """Cannot be put around anything."""

    def __init__(self, env: gymnasium.Env) -> None:
        raise RuntimeError("not today")


class Robot(gymnasium.Env):
    """Sees a picture and has seven joints, a speed of two and a goal; a step adds 1 to every joint."""

    def __init__(self, breaks_at=None):
        joints, speed = spaces.Box(-np.inf, np.inf, (7,), np.float64), spaces.Box(-1, 1, (2,))
        body = spaces.Dict(joints=joints, speed=speed, mode=spaces.Discrete(3))
        camera = spaces.Box(0, 255, (12, 12, 3), np.uint8)
        self.observation_space = spaces.Dict(
            body=body, camera=camera, goal=spaces.MultiBinary(2), matrix=spaces.Box(-1, 1, (3, 3))
        )
        self.action_space, self.breaks_at, self.num_done = spaces.Discrete(2), breaks_at, 0

    def seen(self):
        joints = np.arange(7.0) + self.num_done
        if self.num_done == self.breaks_at:
            joints[2] = np.nan
        body = {"joints": joints, "speed": np.full(2, 0.5, np.float32), "mode": 1}
        picture = np.full((12, 12, 3), 9, np.uint8)
        goal, matrix = np.array([1, 0], np.int8), np.zeros((3, 3), np.float32)
        return {"body": body, "camera": picture, "goal": goal, "matrix": matrix}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.num_done = 0
        return self.seen(), {}

    def step(self, action):
        self.num_done += 1
        return self.seen(), 0.0, self.num_done == 9, False, {}
