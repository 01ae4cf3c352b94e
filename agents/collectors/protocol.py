"""What collectors expect of the agent for which they play, and of what plays in each of them."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np
from torch import Tensor, nn

from spl.agents.collectors.chunks import Recorder
from spl.agents.collectors.progress import Collected, Progress
from spl.envs.vector import Fault, VectorisedEnv
from spl.records import Observation


class Agent(Protocol):
    """An agent whose network travels."""

    num_updates: int
    generator: np.random.Generator  # of its exploration

    @property
    def network(self) -> nn.Module:
        """What acts, and is trained."""
        ...

    def act_by(self, weights: Mapping[str, Tensor]) -> None:
        """Let the network have these weights."""
        ...

    def see(self, observation: Observation) -> None:
        """Take an observation that was collected into what follows the steps."""
        ...


class Acting(Protocol):
    """What acts in environments, and can go on from where it stood."""

    def begin(self, begun: dict[int, Observation]) -> None:
        """Let episodes begin with these observations."""
        ...

    def step(self) -> Collected:
        """Act once in each environment."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return where each environment stands."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> list[Fault]:
        """Go on from :meth:`state_dict`; return what had to begin an episode again."""
        ...


class Player(NamedTuple):
    """What plays in a collector."""

    envs: VectorisedEnv
    agent: Agent
    progress: Progress
    recorder: Recorder  # of what it collects
    acting: Acting

    def place(self) -> dict[str, Any]:
        """Return where it stands, from which another can go on."""
        generator = self.agent.generator.bit_generator.state
        return {"collector": self.acting.state_dict(), "generator": generator}
