"""The two phases: collect with frozen weights, and learn from the memory without an environment."""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spl.agents.exploration import ModalityDropout
from spl.agents.history import History
from spl.agents.memory import ReplayMemory
from spl.agents.protocol import Agent
from spl.agents.run import LoopConfig, episode_seed
from spl.descent import descend
from spl.envs.adapter import AudioVisualEnv
from spl.records import Transition

RECENT_EPISODES = 100  # over which a run tells its mean return


class Episode(NamedTuple):
    """How one episode went."""

    total: float  # sum of rewards
    length: int  # steps


class Progress:
    """Counters of a run, and the episodes that ended lately."""

    def __init__(self) -> None:
        self.step = 0
        self.episode = 0  # the one under way
        self.recent: deque[Episode] = deque(maxlen=RECENT_EPISODES)

    @property
    def returns(self) -> NDArray[np.float64]:
        """Returns of the recent episodes, ``(E,)``, oldest first."""
        return np.array([episode.total for episode in self.recent], np.float64)

    def state_dict(self) -> dict[str, Any]:
        """Return the counters."""
        return {"step": self.step, "episode": self.episode, "recent": [list(one) for one in self.recent]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`; the episode under way is given up, the next one begins."""
        self.step = int(state["step"])
        self.episode = int(state["episode"]) + 1
        self.recent.extend(Episode(float(total), int(length)) for total, length in state["recent"])


def collect(
    agent: Agent,
    env: AudioVisualEnv,
    memory: ReplayMemory,
    progress: Progress,
    *,
    epsilon_at: Callable[[int], float],
    dropout: ModalityDropout,
    keep_reward: Callable[[float], float],
    seed: int,
) -> Iterator[Transition]:
    """Act in ``env`` without end and remember; the weights are only read.

    Yields each transition after it went into the memory. ``progress`` counts steps and episodes; episode
    ``k`` is reset with its own seed, so that it is the same whatever came before. Returns add up the true
    rewards, the memory keeps ``keep_reward`` of them.
    """
    history = History(env.spec_of_streams, history=memory.history)
    while True:
        observation, _ = env.reset(seed=episode_seed(seed, progress.episode))
        observation = dropout(observation, is_first=True)
        memory.begin(observation)
        history.push(observation, is_first=True)
        total, length, is_over = 0.0, 0, False
        while not is_over:
            action = agent.act(history.stack(), epsilon_at(progress.step))[0]
            following, reward, terminated, truncated, _ = env.step(action)
            following = dropout(following, is_first=False)
            kept = keep_reward(reward)
            transition = Transition(observation, action, kept, terminated, truncated, following)
            memory.add(transition)
            history.push(following, is_first=False)
            observation = following
            total, length, is_over = total + reward, length + 1, terminated or truncated
            progress.step += 1
            if is_over:
                progress.recent.append(Episode(total, length))
                progress.episode += 1
            yield transition


def learn(
    agent: Agent,
    memory: ReplayMemory,
    optimizer: torch.optim.Optimizer,
    config: LoopConfig,
    *,
    curriculum: Callable[[Tensor], Tensor],
    generator: np.random.Generator,
    max_grad_norm: float | None,
) -> Iterator[Tensor]:
    """Replay the memory ``config.replays`` times, in batches; the environment is not touched.

    Yields the weighted mean loss of each update, on the device.
    """
    parameters = list(agent.network.parameters())
    device = parameters[0].device
    for _ in range(config.replays):
        mini_buffer = memory.sample(config.mini_buffer, generator)
        for start in range(0, config.mini_buffer, config.batch_size):
            batch = mini_buffer.part(start, start + config.batch_size).to(device)
            losses = agent.losses(batch)
            weights = curriculum(losses.detach())
            loss = descend(losses, weights, optimizer, parameters, max_grad_norm=max_grad_norm)
            agent.sync()  # before the yield: a caller may stop there, and the update must be whole
            yield loss
