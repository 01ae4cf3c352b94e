"""Stable-Baselines3's DQN and QR-DQN on video and audio, peers of ``agent.py`` and ``board.py``."""

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from sb3_contrib import QRDQN
from stable_baselines3 import DQN
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv
from torch import Tensor, nn

from spl.agents.history import History
from spl.envs.config import EnvConfig
from spl.envs.registry import make_env

PEERS: dict[str, type[DQN] | type[QRDQN]] = {"dqn": DQN, "qr-dqn": QRDQN}


def stacks_of(video: Tensor, audio: Tensor) -> dict[str, NDArray[Any]]:
    """Return what a peer is given of stacks ``(E, T, C, H, W)`` and ``(E, T, C, M, F)``.

    ``image (E, T C, H, W)`` uint8 and ``sound (E, T, C M F)``: levels of log-mel as float32, bytes of a
    waveform as uint8, at rest at 128, as ALE has it. What the environment lacks is left out.
    """
    found = {}
    if video.numel():
        found["image"] = video.flatten(1, 2).numpy()
    if audio.numel():
        sound = audio.flatten(2)
        is_bytes = sound.dtype == torch.int8
        found["sound"] = (sound.short() + 128).to(torch.uint8).numpy() if is_bytes else sound.float().numpy()
    return found


class Stacked(gymnasium.Wrapper[Any, int, Any, int]):
    """An environment of our adapter as a Dict of the last observations: see `stacks_of`.

    Args:
        config: of the environment.
        history: how many observations are stacked; zeros before an episode.
        kept: what is learned of a reward; the reward itself is ``info["reward"]``.
    """

    def __init__(
        self, config: EnvConfig, *, history: int = 4, kept: Callable[[float], float] = float
    ) -> None:
        super().__init__(make_env(config))
        self.kept = kept
        self.history = History(self.env.spec_of_streams, history=history)
        self.observation_space = spaces.Dict(
            {
                key: spaces.Box(
                    *((0, 255) if one.dtype == np.uint8 else (-np.inf, np.inf)), one.shape, one.dtype
                )
                for key, one in self.stacks().items()
            }
        )
        self.action_space = spaces.Discrete(self.env.action_sizes[0])

    def stacks(self) -> dict[str, NDArray[Any]]:
        """Return the stacks of now."""
        stack = self.history.stack()
        return {key: one[0] for key, one in stacks_of(stack.video, stack.audio).items()}

    def reset(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Begin an episode, with zeros before it."""
        observation, info = self.env.reset(**kwargs)
        self.history.push(observation, is_first=True)
        return self.stacks(), info

    def step(self, action: int) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Take a step."""
        observation, reward, terminated, truncated, info = self.env.step(int(action))
        self.history.push(observation, is_first=False)
        return self.stacks(), self.kept(reward), terminated, truncated, info | {"reward": reward}


class TwoStreams(BaseFeaturesExtractor):
    """Nature CNN -> 512 beside a perceptron of 256 and 128, joint 512."""

    def __init__(self, space: spaces.Dict) -> None:
        super().__init__(space, 512)
        self.image = self.sound = None
        width = 0
        if "image" in space.spaces:
            channels, *size = space["image"].shape or ()
            convs = nn.Conv2d(channels, 32, 8, 4), nn.Conv2d(32, 64, 4, 2), nn.Conv2d(64, 64, 3)
            layers = nn.Sequential(*(part for conv in convs for part in (conv, nn.ReLU())), nn.Flatten())
            with torch.no_grad():
                flat = layers(torch.zeros(1, channels, *size)).shape[1]
            self.image = nn.Sequential(layers, nn.Linear(flat, 512), nn.ReLU())
            width += 512
        if "sound" in space.spaces:
            heard = space["sound"]
            self.full_scale = 255 if heard.dtype == np.uint8 else 1
            num = int(np.prod(heard.shape or ()))
            layers = nn.Sequential(nn.Linear(num, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU())
            self.sound = nn.Sequential(nn.Flatten(), layers)
            width += 128
        self.joint = nn.Sequential(nn.Linear(width, 512), nn.ReLU())

    def forward(self, given: dict[str, Tensor]) -> Tensor:
        """Return ``(B, 512)``."""
        parts = [] if self.image is None else [self.image(given["image"])]
        if self.sound is not None:
            parts.append(self.sound(given["sound"] / self.full_scale))
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


def train_peer(
    make: Callable[[], Stacked],
    *,
    peer: str = "dqn",
    num_steps: int,
    num_envs: int = 1,
    in_processes: bool = False,
    callback: BaseCallback,
    **options: Any,
) -> DQN | QRDQN:
    """Return the ``peer`` trained for ``num_steps``: with Adam at 1e-4 and gradients of norm 10 at most.

    Args:
        make: makes an environment.
        peer: one of `PEERS`.
        num_steps: of all environments.
        num_envs: environments that are stepped at once.
        in_processes: each in a process of its own.
        callback: hears of the steps.
        options: of the peer's own class.
    """
    kind = SubprocVecEnv if in_processes else DummyVecEnv
    model = PEERS[peer](
        "MultiInputPolicy",
        kind([make] * num_envs),
        learning_rate=1e-4,
        max_grad_norm=10.0,
        policy_kwargs={"features_extractor_class": TwoStreams, "net_arch": []},
        **options,
    )
    model.learn(num_steps, callback=callback)
    return model
