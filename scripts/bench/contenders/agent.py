"""Stable-Baselines3's DQN on video and audio, the baseline of ``agent.py``. Extra: bench."""

from collections import deque
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3 import DQN
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv
from torch import Tensor, nn

from spl.envs.config import EnvConfig
from spl.envs.registry import make_env


class Stacked(gymnasium.Wrapper[Any, int, Any, int]):
    """A game of our adapter as a Dict of stacks: image ``(4, 84, 84)`` and sound ``(4, 512)``, uint8."""

    def __init__(self, config: EnvConfig) -> None:
        super().__init__(make_env(config))
        self.shapes = {"image": (1, 84, 84), "sound": (1, 512)}
        self.observation_space = spaces.Dict(
            {key: spaces.Box(0, 255, (4, *shape[1:]), np.uint8) for key, shape in self.shapes.items()}
        )
        self.last: dict[str, deque[Any]] = {key: deque(maxlen=4) for key in self.shapes}

    def stacks(self, observation: Any) -> dict[str, Any]:
        """Roll the newest in, and return the stacks."""
        sound = (observation.audio.astype(np.int16) + 128).astype(np.uint8)  # at rest at 128, as ALE has it
        for key, newest in (("image", observation.video), ("sound", sound)):
            self.last[key].append(newest.reshape(self.shapes[key]))
        return {key: np.concatenate(list(parts)) for key, parts in self.last.items()}

    def reset(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Begin an episode, with zeros before it."""
        observation, info = self.env.reset(**kwargs)
        for key, shape in self.shapes.items():
            self.last[key].extend([np.zeros(shape, np.uint8)] * 4)
        return self.stacks(observation), info

    def step(self, action: int) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Take a step of four frames."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        return self.stacks(observation), reward, terminated, truncated, info


class TwoStreams(BaseFeaturesExtractor):
    """Nature CNN -> 512 beside 2048-256-128, joint 512."""

    def __init__(self, space: spaces.Dict) -> None:
        super().__init__(space, 512)
        convs = nn.Conv2d(4, 32, 8, 4), nn.Conv2d(32, 64, 4, 2), nn.Conv2d(64, 64, 3)
        image = [part for conv in convs for part in (conv, nn.ReLU())]
        self.image = nn.Sequential(*image, nn.Flatten(), nn.Linear(3136, 512), nn.ReLU())
        sound = nn.Linear(2048, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU()
        self.sound = nn.Sequential(nn.Flatten(), *sound)
        self.joint = nn.Sequential(nn.Linear(640, 512), nn.ReLU())

    def forward(self, seen: dict[str, Tensor]) -> Tensor:
        """Return ``(B, 512)``."""
        parts = self.image(seen["image"]), self.sound(seen["sound"] / 255)
        joint: Tensor = self.joint(torch.cat(parts, dim=1))
        return joint


class Progress(BaseCallback):
    """Reports steps and updates every so many steps."""

    def __init__(self, every_steps: int, report: Callable[[int, int], None]) -> None:
        super().__init__()
        self.every_steps, self.report = every_steps, report

    def _on_step(self) -> bool:
        if self.num_timesteps % self.every_steps < self.training_env.num_envs:
            self.report(self.num_timesteps, self.model._n_updates)  # type: ignore[attr-defined]
        return True


def train_dqn(
    config: EnvConfig,
    *,
    num_steps: int,
    learning_starts: int,
    capacity: int,
    num_envs: int,
    in_processes: bool,
    device: str,
    progress: Progress,
) -> None:
    """Train for ``num_steps`` with one update of ``32 num_envs`` every four steps of all environments."""
    kind = SubprocVecEnv if in_processes else DummyVecEnv
    model = DQN(
        "MultiInputPolicy",
        kind([lambda: Stacked(config)] * num_envs),
        learning_rate=1e-4,
        buffer_size=capacity,
        learning_starts=learning_starts,
        batch_size=32 * num_envs,
        gamma=0.99,
        train_freq=4,
        gradient_steps=1,
        target_update_interval=1_000,
        exploration_initial_eps=0.1,
        exploration_final_eps=0.1,
        max_grad_norm=10.0,
        policy_kwargs={"features_extractor_class": TwoStreams, "net_arch": []},
        device=device,
        seed=0,
    )
    model.learn(num_steps, callback=progress)
