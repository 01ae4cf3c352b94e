"""A collector in a process of Ray's, perhaps on another machine: it plays with weights that it is sent.

The learner's side of it is `spl.agents.collectors`. Nothing here needs Ray.
"""

import os
import platform
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from spl import __version__
from spl.agents.chunks import Chunk, Recorder
from spl.agents.collector_options import ladder_epsilon
from spl.agents.config import TrainAgentConfig, build_agent
from spl.agents.dqn import MultimodalDqn
from spl.agents.exploration import ModalityDropout
from spl.agents.loop import Collector, Progress
from spl.agents.protocol import Remembering
from spl.envs.registry import make_env
from spl.envs.vector import VectorisedEnv
from spl.records import Observation
from spl.runs.directory import generator_of


class Machine(NamedTuple):
    """Where a collector runs."""

    name: str
    process: int
    version: str  # of spl
    failure: str | None  # why its environment cannot be made there


class CollectorActor:
    """Plays in ``num_envs`` environments of its own; what it brings is a function of what it is asked.

    Args:
        config: of the run.
        index: of the collector, from 0.
    """

    def __init__(self, config: TrainAgentConfig, index: int) -> None:
        torch.set_num_threads(1)
        torch.set_flush_denormal(True)
        self.config, self.index = config, index
        self._life: int | None = None  # of which requests are answered; None: it has not begun
        self._version: Any = None  # of the weights it has
        self._envs: VectorisedEnv | None = None

    def up(self) -> None:
        """Return once the process is there."""

    def look(self) -> Machine:
        """Return where it runs, after making an environment there."""
        failure = None
        try:
            make_env(self.config.env).close()
        except Exception as error:  # of the user's code, too; the learner tells
            failure = str(error) or type(error).__name__
        return Machine(platform.node(), os.getpid(), __version__, failure)

    def begin(self, life: int, seeding: int, place: dict[str, Any] | None) -> None:
        """Begin with new environments, or from where a collector stood.

        Args:
            life: number of this beginning; requests of another one are not answered.
            seeding: how often it has begun anew, from which its seeds follow.
            place: of the last chunk that arrived; None begins anew.
        """
        if self._envs is not None:
            self._envs.close()
        config, who = self.config, f"collector {self.index}, begun {seeding} times"
        envs = self._envs = VectorisedEnv(
            config.env,
            num_envs=config.num_envs,
            seed=int(generator_of(config.seed, f"environments of {who}").integers(2**32)),
            is_apart=bool(config.env_workers) or config.step_timeout_s is not None,
            timeout_s=config.step_timeout_s,
        )
        agent = build_agent(config, envs.spec_of_streams, envs.action_sizes, torch.device("cpu"))
        agent.generator = generator_of(config.seed, f"exploration of {who}")
        self.agent, self.progress, self._version = agent, Progress(), None
        self.recorder = Recorder(
            envs.spec_of_streams._replace(recurrent=agent.network.num_remembered),
            history=config.memory.history,
            num_dimensions=len(envs.action_sizes),
        )
        draws = generator_of(config.seed, f"dropout of {who}")
        self.collector = new_collector(
            config, agent, envs, self.recorder, self.progress, draws, self._epsilon_at
        )
        self._faults: list[list[Any]] = []
        if place is None:
            self.collector.begin(envs.start().begun)
        else:
            agent.generator.bit_generator.state = place["generator"]
            self._faults = [[0, *fault] for fault in self.collector.load_state_dict(place["collector"])]
        self._life = life

    def collect(
        self, life: int, weights: Mapping[str, NDArray[Any]], version: Any, step: int, num_steps: int
    ) -> Chunk | None:
        """Return the next steps of all environments; None where it was begun anew since it was asked.

        Args:
            life: as of `begin`.
            weights: of the network, as arrays.
            version: of the weights, which are not read again where they are those it has.
            step: of the run, at which exploration is.
            num_steps: to take in each environment.
        """
        if life != self._life:
            return None
        if version != self._version:
            self.agent.act_by({name: torch.tensor(weight) for name, weight in weights.items()})
            self._version = version
        self.progress.step, episodes, faults = step, list[list[float]](), self._faults
        self._faults = []
        for at in range(num_steps):
            self.recorder.step = at
            collected = self.collector.step()
            episodes += [[at, *episode] for episode in collected.episodes]
            faults += [[at, *fault] for fault in collected.faults]
        assert self._envs is not None
        return self.recorder.hand_over(
            episodes=np.array(episodes, np.float64).reshape(-1, 3),
            faults=faults,
            news=self._envs.take_news(),
            num_steps=num_steps,
            place=self._place() if self.config.ordered else None,
        )

    def _place(self) -> dict[str, Any]:
        generator = self.agent.generator.bit_generator.state
        return {"collector": self.collector.state_dict(), "generator": generator}

    def _epsilon_at(self, step: int) -> float:
        config = self.config
        if config.agent.epsilon_ladder:
            return ladder_epsilon(self.index, config.collectors)
        return config.agent.epsilon_at(step)


def new_collector(
    config: TrainAgentConfig,
    agent: MultimodalDqn,
    envs: VectorisedEnv,
    memory: Remembering,
    progress: Progress,
    draws: np.random.Generator,
    epsilon_at: Callable[[int], float],
    see: Callable[[Observation], None] | None = None,
) -> Collector:
    """Return the collector of a run, in any process; ``draws`` decides what is hidden from it."""
    share, mean_steps = config.agent.modality_dropout, config.agent.modality_dropout_steps
    return Collector(
        agent,
        envs,
        memory,
        progress,
        epsilon_at=epsilon_at,
        dropout=ModalityDropout(share, mean_steps, draws, num_envs=config.num_envs),
        keep_reward=config.agent.kept_reward,
        remembers_hidden=agent.has_thirds,
        see=see,
    )


def on_cpu(config: TrainAgentConfig) -> TrainAgentConfig:
    """Return the options as collectors have them: nothing of the learner's device or compilation."""
    return replace(config, device="cpu", agent=replace(config.agent, compile=False))
