"""The interface that the loop expects of an agent: six methods, a network and two facts."""

from collections.abc import Sequence
from typing import Any, Protocol

from torch import Tensor, nn

from spl.agents.history import Stack
from spl.records import Action, Batch, Following


class Agent(Protocol):
    """An agent that learns from a replay memory."""

    @property
    def network(self) -> nn.Module:
        """What the optimizer trains."""
        ...

    def act(self, stack: Stack, epsilon: float) -> list[Action]:
        """Return one action for each of ``E`` environments; random with chance ``epsilon``."""
        ...

    @property
    def has_thirds(self) -> bool:
        """Whether :meth:`losses` are of three views."""
        ...

    def losses(self, batch: Batch, soon: Following | None = None) -> Tensor:
        """Return one loss per transition and view, ``(V B,)``, with a graph; the whole transitions' first.

        ``soon`` tells a learner of thirds what came one step ahead, where the batch reaches further.
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
