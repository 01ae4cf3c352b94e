"""What a step of collecting brings, and where a run stands in collecting and learning."""

from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spl.envs.vector import Fault
from spl.records import Transition

RECENT_EPISODES = 100  # over which a run tells its mean return


class Episode(NamedTuple):
    """How one episode went."""

    total: float  # sum of rewards
    length: int  # steps


class Collected(NamedTuple):
    """What one step of all environments brought."""

    transitions: list[Transition]
    episodes: list[Episode]  # that ended
    faults: list[Fault]
    lost: Sequence[str] = ()  # what happened to collectors that died


class Progress:
    """Counters of a run, the episodes that ended lately, and what is still to be learned in this phase."""

    def __init__(self) -> None:
        self.step = 0
        self.episode = 0  # episodes that ended
        self.recent: deque[Episode] = deque(maxlen=RECENT_EPISODES)
        self.replays_due = 0  # mini-buffers to draw before collecting goes on
        self.drawn: NDArray[np.int64]  # places in the memory, drawn and not yet learned
        self.weights: NDArray[np.float32] | None  # of them; None: all count alike
        self.forget_drawn()

    def forget_drawn(self) -> None:
        """Let nothing be drawn and not yet learned."""
        self.drawn, self.weights = np.zeros(0, np.int64), None

    @property
    def is_learning(self) -> bool:
        """Whether something of this phase is still to be learned."""
        return bool(self.replays_due or self.drawn.size)

    @property
    def returns(self) -> NDArray[np.float64]:
        """Returns of the recent episodes, ``(E,)``, oldest first."""
        return np.array([episode.total for episode in self.recent], np.float64)

    def state_dict(self) -> dict[str, Any]:
        """Return counters, episodes and what is due."""
        return {
            "step": self.step,
            "episode": self.episode,
            "recent": [list(one) for one in self.recent],
            "replays_due": self.replays_due,
            "drawn": self.drawn,
            "weights": self.weights,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        self.step, self.episode = int(state["step"]), int(state["episode"])
        self.recent.extend(Episode(float(total), int(length)) for total, length in state["recent"])
        self.replays_due = int(state["replays_due"])
        self.drawn, self.weights = state["drawn"], state["weights"]
