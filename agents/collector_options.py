"""What the options of collectors allow each other. What collectors do is in `spl.agents.collectors`."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from spl.agents.config import TrainAgentConfig

COLLECTORS = ("collectors", "chunk_steps", "ordered")  # options that spl train agent has alone
LADDER, STEEPNESS = 0.4, 7.0  # of the exploration of several collectors


def check_collectors(config: "TrainAgentConfig") -> None:
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
