"""The configuration of a check: which environment, and for how long."""

from collections.abc import Callable
from dataclasses import dataclass, field

from spl.config.fields import check_fields
from spl.config.ranges import Count, Seed, Timeout
from spl.envs.config import EnvConfig
from spl.envs.registry import settle

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class MemorySize:
    """The replay memory whose size is reported."""

    capacity: Count = 50_000  # observations to keep

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, kw_only=True)
class CheckEnvConfig:
    """Which environment is examined, and for how long."""

    env: EnvConfig = field(default_factory=EnvConfig)
    raw: bool = False  # check ALE and ViZDoom as shipped, without spl's fixes
    num_steps: Count = 2_000  # at most, over all episodes; no action is repeated
    num_episodes: Count = 3  # at most
    seed: Seed = 0  # of resets and actions
    step_timeout_s: Timeout = 60.0  # limit for creating it, one reset or one step
    memory: MemorySize = field(default_factory=MemorySize)

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def options(self) -> EnvConfig:
        """What the environment is made with."""
        return self.env if self.raw else settle(self.env)
