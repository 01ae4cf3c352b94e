"""What the options of collectors allow each other, and what collectors are to do by them."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from spl.envs.config import EnvConfig

COLLECTORS = ("collectors", "chunk_steps", "ordered")  # options that spl train agent has alone
LADDER, STEEPNESS = 0.4, 7.0  # of the exploration of several collectors


class Plan(NamedTuple):
    """How the collectors of a run play."""

    num_collectors: int
    num_envs: int  # of each
    num_steps: int  # of all together
    chunk_steps: int  # of its environments, after which a collector hands over what it has
    is_ordered: bool  # whether chunks are taken in a fixed order
    has_ladder: bool  # whether each explores by a chance of its own
    epsilon_at: Callable[[int], float]  # the chance of a random action at a step, where they have none
    env: EnvConfig
    classes: Sequence[str | dict[str, Any]]  # of the user's own that a run names, the environment's left out
    ray: str | None  # address of the cluster that they are on; None: this machine's

    def epsilon_of(self, index: int, step: int) -> float:
        """Return the chance of a random action of a collector at a step of the run."""
        return ladder_epsilon(index, self.num_collectors) if self.has_ladder else self.epsilon_at(step)


def check_collectors(config: Any) -> None:
    """Raise ``ValueError`` where options of collectors are set without any, or do not go together."""
    if config.collectors:
        if config.is_several:
            raise ValueError(
                f"collectors ({config.collectors}) play for one training of spl train agent: leave them out"
            )
        if config.ordered and not config.save_memory:
            raise ValueError("ordered repeats a resumed run, which needs its memory: set save_memory true")
        return
    used = {
        "chunk_steps": config.chunk_steps != type(config).chunk_steps,
        "ordered": config.ordered,
        "ray": config.ray is not None and not config.is_several,
        "agent.epsilon_ladder": config.agent.epsilon_ladder,
    }
    for name in (name for name, is_used in used.items() if is_used):
        others = ", or of several seeds: --seeds 0-4" if name == "ray" else ""
        advice = "leave it out" if config.is_several else f"say how many, --collectors 4{others}"
        raise ValueError(f"{name} is an option of collectors: {advice}")


def ladder_epsilon(index: int, num_collectors: int) -> float:
    """Return the chance of a random action of a collector, the same throughout.

    ``0.4^(1 + 7 i / (N - 1))``: from 0.4 of the first to 0.00066 of the last; 0.4 of a single one.

    Source: Horgan et al. (2018), Distributed prioritized experience replay, section 4.
    """
    return float(LADDER ** (1.0 + STEEPNESS * index / max(1, num_collectors - 1)))
