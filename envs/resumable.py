"""An environment that seeds itself, can be restored to another's state, and survives its own exceptions."""

import zlib
from typing import Any, NamedTuple

import gymnasium
import numpy as np

from spl.config.errors import RunError
from spl.envs.api_checks import RAISED, AnswerError
from spl.envs.config import EnvConfig
from spl.envs.registry import make_env
from spl.records import Action, Observation

SEED_EVERY_STEPS = 1_000  # at the least; what a resumed run steps again is that and an episode
UNREPEATED = (
    "does not repeat with the same seed and actions, so its current episode is abandoned; "
    "'spl check env' shows where it differs"
)


class Position(NamedTuple):
    """Where an environment stands: enough to bring another one there."""

    seeding: int  # counts the environment's seeded resets
    actions: tuple[Action, ...] = ()  # taken since the last of them, over all episodes that ended meanwhile
    digest: int | None = None  # of the observation that they led to; None: not compared


def reset_seed(seed: int, seeding: int, env: int = 0) -> int:
    """Return the seed with which environment ``env`` of a run is reset for the given time."""
    return int(np.random.SeedSequence([seed, seeding, env]).generate_state(1)[0])


def digest_of(observation: Observation) -> int:
    """Return a checksum of what is seen and heard, and of the state."""
    seen_and_heard = zlib.crc32(observation.audio.tobytes(), zlib.crc32(observation.video.tobytes()))
    return zlib.crc32(observation.state.tobytes(), seen_and_heard)


class Seeded(gymnasium.Wrapper[Observation, Action, Observation, Action]):
    """Seeds itself from a run's seed, can be sent to a :class:`Position`, and outlives a fault.

    A seed is given at the first episode that begins ``SEED_EVERY_STEPS`` after the last one (a seeded reset
    of an ALE game takes as long as a hundred steps). An environment that raises is made again and reset with
    its next seed; ``info["fault"]`` says why. With each episode's first observation comes
    ``info["seeding"]``, and ``info["life_lost"]`` where ``info["lives"]`` has gone down within an episode;
    other infos are dropped.

    Raises:
        RunError: from ``step`` and ``reset``, if it fails again while it begins again; of our own kind, as
            an error of the environment's may refuse to travel between processes.
    """

    def __init__(self, config: EnvConfig, seed: int, index: int) -> None:
        super().__init__(make_env(config))
        self.config = config
        self.seed = seed
        self.index = index
        self.goal: Position | None = None  # where the next reset leads; None: it begins the next episode
        self._seeding = self._num_taken = 0
        self._is_broken = False  # it raised and was not made again yet

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Go to ``goal``, where that can be reached, or begin the next episode."""
        goal, self.goal = self.goal, None
        fault = None
        try:
            observation = self._next_episode() if goal is None else self._go(goal)
            if goal is not None and goal.digest not in (None, digest_of(observation)):
                fault = UNREPEATED
        except RAISED as error:
            fault = told(error)
            self._is_broken = True
        if fault is None:
            return observation, {"seeding": self._seeding, **self._news()}
        return self._restart_env(), {"seeding": self._seeding, "fault": fault}

    def step(self, action: Action) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Take one action; after a fault, the first observation after the next seeded reset is returned."""
        self._num_taken += 1
        try:
            observation, reward, terminated, truncated, _ = self.env.step(action)
        except RAISED as error:
            self._is_broken = True
            observation = self._restart_env()
            return observation, 0.0, False, False, {"seeding": self._seeding, "fault": told(error)}
        info = {} if terminated or truncated else self._news()  # at an end it comes with the next reset
        if self.env.life_lost:  # type: ignore[attr-defined]
            info["life_lost"] = True
        return observation, float(reward), terminated, truncated, info

    def _news(self) -> dict[str, Any]:
        """Return what is to be told of values beyond their range, each time something new."""
        news = self.env.news()  # type: ignore[attr-defined]
        return {"news": "\n".join(news)} if news else {}

    def _next_episode(self) -> Observation:
        if self._num_taken >= SEED_EVERY_STEPS:
            return self._go(Position(self._seeding + 1))
        return self._reset()

    def _reset(self, seed: int | None = None) -> Observation:
        return self.env.reset(seed=seed)[0]

    def _go(self, goal: Position) -> Observation:
        self._seeding, self._num_taken = goal.seeding, len(goal.actions)
        observation = self._reset(reset_seed(self.seed, goal.seeding, self.index))
        for action in goal.actions:
            observation, _, terminated, truncated, _ = self.env.step(action)
            if terminated or truncated:
                observation = self._reset()
        return observation

    def _restart_env(self) -> Observation:
        """Reset with the next seed an environment that failed; it is made again first if it raised."""
        try:
            if self._is_broken:
                self.close()
                self.env = make_env(self.config)
                self._is_broken = False
            return self._go(Position(self._seeding + 1))
        except RAISED as error:
            raise RunError(told(error)) from error


def told(error: BaseException) -> str:
    """Return what an environment raised, in a line."""
    kind = "" if isinstance(error, AnswerError) else f"{type(error).__name__}: "
    return " ".join(f"{kind}{error}".split()).removesuffix(":")
