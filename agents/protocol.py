"""The interfaces that the loop expects of what acts, and of an agent, which learns, too."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from spl.agents.history import Stack
from spl.agents.replay.sequences import Sequences, Unroll
from spl.records import NO_STATE, Action, Batch, Following, Observation, StreamSpec, Transition


class Remembering(Protocol):
    """What takes in the observations of several environments, as a replay memory does."""

    @property
    def spec(self) -> StreamSpec:
        """Shapes of one observation."""
        ...

    @property
    def history(self) -> int:
        """Observations in a stack."""
        ...

    def is_open(self, env: int = 0) -> bool:
        """Whether the newest observation of ``env`` awaits what is done next."""
        ...

    def begin(
        self, observation: Observation, env: int = 0, recurrent: NDArray[np.float32] = NO_STATE
    ) -> None:
        """Take in an episode's first observation."""
        ...

    def add(self, transition: Transition, env: int = 0, recurrent: NDArray[np.float32] = NO_STATE) -> None:
        """Take in what was done and earned at the newest observation, and the next one."""
        ...


class Actor(Protocol):
    """What acts."""

    def decide(self, stack: Stack, epsilon: float) -> tuple[list[Action], Tensor | None]:
        """Return one action for each of ``E`` environments, random with chance ``epsilon``.

        And the recurrent state ``(E, R)`` after the newest step; None of what remembers nothing.
        """
        ...


class Agent(Actor, Protocol):
    """An agent that learns from a replay memory."""

    @property
    def network(self) -> nn.Module:
        """What the optimizer trains."""
        ...

    @property
    def unroll(self) -> Unroll | None:
        """The sequences that it learns from; None: transitions."""
        ...

    @property
    def has_thirds(self) -> bool:
        """Whether :meth:`losses` are of three views."""
        ...

    def losses(self, batch: Batch | Sequences, soon: Following | None = None) -> Tensor:
        """Return one loss per sample and view, ``(V B,)``, with a graph; those of whole samples first.

        A sample is a transition, or a sequence. ``soon`` tells a learner of thirds what came one step ahead,
        where the batch reaches further.
        """
        ...

    def score(self, batch: Batch) -> Tensor:
        """Return the losses of whole transitions without a graph, ``(B,)``."""
        ...

    @property
    def horizon(self) -> tuple[int, float] | None:
        """How many rewards are summed now, and the discount; None: as the memory was made."""
        ...

    def sync(self) -> Sequence[nn.Parameter]:
        """Follow an update of the network (target networks and counters).

        Return the weights that began anew with it: what an optimizer knows of them holds no longer.
        """
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return everything that learning and acting depend on, generators included."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        ...
