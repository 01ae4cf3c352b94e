"""A collector in a process of Ray's, perhaps on another machine: it plays with weights that it is sent.

The learner's side of it is `intake`. Nothing here needs Ray.
"""

import os
import platform
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from spl import __version__
from spl.agents.collectors.chunks import Chunk
from spl.agents.collectors.options import Plan
from spl.agents.collectors.protocol import Player
from spl.envs.registry import make_env


class Machine(NamedTuple):
    """Where a collector runs."""

    name: str
    process: int
    version: str  # of spl
    failure: str | None  # why its environment cannot be made there


class CollectorActor:
    """Plays in environments of its own; what it brings is a function of what it is asked.

    Args:
        plan: of all collectors.
        open_player: makes what plays, by the collector's index and how often it has begun anew.
        index: of the collector, from 0.
    """

    def __init__(self, plan: Plan, open_player: Callable[[int, int], Player], index: int) -> None:
        torch.set_num_threads(1)
        torch.set_flush_denormal(True)
        self.plan, self.open_player, self.index = plan, open_player, index
        self._life: int | None = None  # of which requests are answered; None: it has not begun
        self._version: Any = None  # of the weights it has
        self.player: Player | None = None

    def up(self) -> None:
        """Return once the process is there."""

    def look(self) -> Machine:
        """Return where it runs, after making an environment there."""
        failure = None
        try:
            make_env(self.plan.env).close()
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
        if self.player is not None:
            self.player.envs.close()
        player = self.player = self.open_player(self.index, seeding)
        self._version, self._faults = None, list[list[Any]]()
        if place is None:
            player.acting.begin(player.envs.start().begun)
        else:
            player.agent.generator.bit_generator.state = place["generator"]
            self._faults = [[0, *fault] for fault in player.acting.load_state_dict(place["collector"])]
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
        player = self.player
        assert player is not None
        if version != self._version:
            player.agent.act_by({name: torch.tensor(weight) for name, weight in weights.items()})
            self._version = version
        player.progress.step, episodes, faults = step, list[list[float]](), self._faults
        self._faults = []
        for at in range(num_steps):
            player.recorder.step = at
            collected = player.acting.step()
            episodes += [[at, *episode] for episode in collected.episodes]
            faults += [[at, *fault] for fault in collected.faults]
        return player.recorder.hand_over(
            episodes=np.array(episodes, np.float64).reshape(-1, 3),
            faults=faults,
            news=player.envs.take_news(),
            num_steps=num_steps,
            place=player.place() if self.plan.is_ordered else None,
        )
