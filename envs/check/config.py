"""What describes an examination: which environment, and for how long."""

from collections.abc import Callable
from dataclasses import dataclass, field

from spl.config.ranges import Count, Seed, Timeout, check_ranges
from spl.envs.config import EnvConfig
from spl.envs.registry import settle

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class MemorySize:
    """The replay memory whose size is told."""

    capacity: Count = 50_000  # observations

    def __post_init__(self) -> None:
        check_ranges(self)


@dataclass(frozen=True, kw_only=True)
class CheckEnvConfig:
    """Which environment is examined, and for how long."""

    env: EnvConfig = field(default_factory=EnvConfig)
    raw: bool = False  # ALE and ViZDoom as they are shipped, without our fixes
    num_steps: Count = 2_000  # at the most, over all episodes; no action is repeated
    num_episodes: Count = 3  # at the most
    seed: Seed = 0  # resets and actions follow from it
    step_timeout_s: Timeout = 60.0  # for making it, one reset or one step; what takes longer hangs
    memory: MemorySize = field(default_factory=MemorySize)

    def __post_init__(self) -> None:
        check_ranges(self)

    @property
    def options(self) -> EnvConfig:
        """What the environment is made with."""
        return self.env if self.raw else settle(self.env)
