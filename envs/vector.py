"""Several environments stepped together, each of which can be restored to an earlier state.

Built on Gymnasium's vector environments with same-step autoreset. What goes wrong inside an environment
arrives as a :class:`Fault` beside the others' steps, never as a transition. Not here: memory, agents, saving.
"""

import functools
import multiprocessing
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from numpy.typing import NDArray

from spl.config.errors import RunError, UsageError
from spl.envs.actions import as_action
from spl.envs.config import EnvConfig
from spl.envs.resumable import Position, Seeded, digest_of, reset_seed, told
from spl.envs.workers import (
    LOST,
    PARTING_S,
    Apart,
    cause_of_death,
    check_alike,
    gymnasium_quiet,
    make_seeded,
    one_thread_each,
)
from spl.processes.signals import interrupts_blocked
from spl.records import Action, Observation, StreamSpec


class Fault(NamedTuple):
    """What went wrong in one environment, which was then reset with its next seed."""

    env: int
    seed: int  # with which it had been reset
    step: int  # actions taken since then
    what: str

    def __str__(self) -> str:
        return f"environment {self.env}, {self.step} steps after its reset with seed {self.seed}: {self.what}"


class Arrival(NamedTuple):
    """What one step of all ``E`` environments brought."""

    reached: list[Observation | None]  # where the action led, at an episode's end the final one; None: faulty
    rewards: NDArray[np.float64]  # (E,), of those that reached something
    terminated: NDArray[np.bool_]  # (E,)
    truncated: NDArray[np.bool_]  # (E,)
    life_lost: NDArray[np.bool_]  # (E,), of episodes that go on
    begun: dict[int, Observation]  # environments that stand at an episode's begin now
    faults: list[Fault]


def _itself(env: Seeded) -> Seeded:
    return env


class VectorisedEnv:
    """``E`` environments of one kind; number ``i`` seeds itself with ``reset_seed(seed, 0, i)``, and so on.

    Args:
        config: of each environment.
        num_envs: ``E``.
        seed: of the run.
        is_apart: each in a process of its own, which may then hang or die.
        timeout_s: longest time that a step may take before its environment is given up; needs ``is_apart``.

    Raises:
        UsageError: if the environment cannot be made, or those made are not alike.
        ValueError: if a time limit is given for environments in this process.
    """

    def __init__(
        self, config: EnvConfig, *, num_envs: int, seed: int, is_apart: bool, timeout_s: float | None
    ) -> None:
        if timeout_s is not None and not is_apart:
            raise ValueError("step_timeout_s needs environments in processes of their own: env_workers=true")
        self.config = config
        self.num_envs = num_envs
        self.seed = seed
        self.timeout_s = timeout_s
        self.is_apart = is_apart
        self._envs = self._make()
        self._seedings = [0] * num_envs
        self._actions: list[list[Action]] = [[] for _ in range(num_envs)]
        self._newest: list[Observation] = []
        self._news: list[str] = []  # not yet taken
        self._known_news: set[str] = set()
        self.spec_of_streams = StreamSpec(*self._envs.get_attr("spec_of_streams")[0])
        self.action_sizes: tuple[int, ...] = tuple(self._envs.get_attr("action_sizes")[0])
        self.streams: dict[str, Any] = self._envs.call("describe")[0]  # what was chosen of its streams
        self.doubts: list[str] = self._envs.get_attr("doubts")[0]  # options that are best measured

    def _make(self) -> SyncVectorEnv | AsyncVectorEnv:
        if getattr(multiprocessing.current_process(), "_inheriting", False):
            sys.exit(1)  # a worker that imports the script which started it: the process above tells
        if not self.is_apart:
            envs = [Seeded(self.config, self.seed, index) for index in range(self.num_envs)]
            spaces = [env.observation_space for env in envs]
            check_alike(
                self.config.id, [env.get_wrapper_attr("action_sizes") for env in envs], spaces, spaces[0]
            )
            ready = [functools.partial(_itself, env) for env in envs]
            return SyncVectorEnv(ready, autoreset_mode=AutoresetMode.SAME_STEP)
        makers = [
            functools.partial(make_seeded, self.config, self.seed, index) for index in range(self.num_envs)
        ]
        try:
            with one_thread_each(), interrupts_blocked(), gymnasium_quiet():
                return Apart(makers, context="spawn", autoreset_mode=AutoresetMode.SAME_STEP)
        except (EOFError, ConnectionError) as error:
            raise UsageError(
                f"{self.config.id} could not be made in a process of its own: in a script, start the run "
                "under if __name__ == '__main__'; else choose --env_workers false"
            ) from error

    def start(self) -> Arrival:
        """Begin the first episode of each environment."""
        arrival = self.go_to([Position(0)] * self.num_envs)
        return arrival._replace(begun=dict(enumerate(self._newest)))

    def go_to(self, positions: Sequence[Position]) -> Arrival:
        """Put each environment to a position; those that cannot get there were reset with the next seed.

        Raises:
            RunError: if an environment cannot be reset.
        """
        self._seedings = [position.seeding for position in positions]
        self._actions = [list(position.actions) for position in positions]
        num_taken = [len(position.actions) for position in positions]
        try:
            self._envs.set_attr("goal", list(positions))
            batched, infos = self._reset(max(num_taken))
        except LOST as error:
            env, what = next(iter(self._lost(error).items()), (0, told(error)))
            self.close()
            raise RunError(f"environment {env} of {self.config.id} could not be reset: {what}") from error
        except RunError as error:
            self.close()
            raise RunError(f"{self.config.id} could not be reset, twice: {error}") from error
        self._newest = self._apart(batched)
        nothing = np.zeros(self.num_envs)
        arrival = self._arrival([None] * self.num_envs, nothing, nothing > 0, nothing > 0, infos, num_taken)
        for env, position in enumerate(positions):
            if self._seedings[env] == position.seeding:
                self._actions[env] = list(position.actions)
                del arrival.begun[env]
        return arrival

    @property
    def newest(self) -> list[Observation]:
        """Where each environment stands now; at an episode's end the next one's first observation."""
        return self._newest

    def positions(self) -> list[Position]:
        """Return where each environment stands."""
        digests: list[int | None] = [*map(digest_of, self._newest)] or [None] * self.num_envs  # not begun
        return [
            Position(seeding, tuple(actions), digest)
            for seeding, actions, digest in zip(self._seedings, self._actions, digests, strict=True)
        ]

    def counts_lives(self) -> bool:
        """Whether the environments tell ``info["lives"]``; known once they have begun."""
        return None not in self._envs.get_attr("lives")

    def step(self, actions: Sequence[Action]) -> Arrival:
        """Take one action in each environment.

        Raises:
            RunError: if an environment that failed cannot be made or reset again.
        """
        try:
            batched, rewards, terminated, truncated, infos = self._step(np.array(actions))
        except LOST as error:
            return self._replace_lost(error)
        except RunError as error:
            raise RunError(f"{self.config.id} failed and could not be restarted: {error}") from error
        num_taken = [len(taken) for taken in self._actions]
        for taken, action in zip(self._actions, actions, strict=True):
            taken.append(as_action(action))
        self._newest = self._apart(batched)
        reached: list[Observation | None] = list(self._newest)
        for env in np.flatnonzero(terminated | truncated):
            reached[env] = Observation(*infos["final_obs"][env])
        return self._arrival(reached, rewards, terminated, truncated, infos, num_taken)

    def _step(self, actions: NDArray[np.int64]) -> Any:
        if not isinstance(self._envs, AsyncVectorEnv):
            return self._envs.step(actions)
        with gymnasium_quiet():
            self._envs.step_async(actions)
            return self._envs.step_wait(self.timeout_s)

    def _reset(self, num_actions: int) -> Any:
        if not isinstance(self._envs, AsyncVectorEnv):
            return self._envs.reset()
        with gymnasium_quiet():
            self._envs.reset_async()
            limit = None if self.timeout_s is None else 60.0 + self.timeout_s * (1 + num_actions)
            return self._envs.reset_wait(limit)

    def _apart(self, batched: tuple[NDArray[Any], ...]) -> list[Observation]:
        return [Observation(*(part[env] for part in batched)) for env in range(self.num_envs)]

    def _arrival(
        self,
        reached: list[Observation | None],
        rewards: NDArray[np.float64],
        terminated: NDArray[np.bool_],
        truncated: NDArray[np.bool_],
        infos: dict[str, Any],
        num_taken: list[int],
    ) -> Arrival:
        """Put together what the step brought, and take note of episodes and seeds that it began."""
        begun, faults = {}, []
        for env in np.flatnonzero(infos.get("_news", [])).tolist():
            self.note(str(infos["news"][env]))
        is_faulty = infos.get("_fault", np.zeros(self.num_envs, np.bool_))
        for env in np.flatnonzero(infos.get("_seeding", [])).tolist():
            if is_faulty[env]:
                faults.append(self._fault(env, num_taken[env], str(infos["fault"][env])))
                if not (terminated[env] or truncated[env]):
                    reached[env] = None
            if (seeding := int(infos["seeding"][env])) != self._seedings[env]:
                self._seedings[env], self._actions[env] = seeding, []
            begun[env] = self._newest[env]
        life_lost = infos.get("_life_lost", np.zeros(self.num_envs, np.bool_))
        return Arrival(reached, rewards, terminated, truncated, life_lost, begun, faults)

    def note(self, news: str) -> None:
        """Keep sentences on streams that no environment has reported of before."""
        for sentence in news.splitlines():
            if (stream := sentence.partition(" goes ")[0]) not in self._known_news:
                self._known_news.add(stream)
                self._news.append(sentence)

    def take_news(self) -> list[str]:
        """Return what is to be told of streams beyond their range since the last call."""
        taken, self._news = self._news, []
        return taken

    def _fault(self, env: int, step: int, what: str) -> Fault:
        return Fault(env, reset_seed(self.seed, self._seedings[env], env), step, what)

    def _lost(self, error: Exception) -> dict[int, str]:
        """Return what happened to each environment that does not answer any more."""
        assert isinstance(self._envs, AsyncVectorEnv)
        is_hanging, lost = isinstance(error, multiprocessing.TimeoutError), {}
        for env, (process, pipe) in enumerate(
            zip(self._envs.processes, self._envs.parent_pipes, strict=True)
        ):
            try:
                if pipe.poll(0):
                    pipe.recv()
                elif is_hanging:
                    lost[env] = f"its step took longer than step_timeout_s={self.timeout_s:g}"
            except (EOFError, OSError):  # its end of the pipe is closed
                process.join(PARTING_S)
                lost[env] = f"its process died of {cause_of_death(process.exitcode)}"
        return lost

    def _replace_lost(self, error: Exception) -> Arrival:
        """Give up environments that hang or whose process died; put all others back to where they were."""
        lost = self._lost(error)
        goals = [
            Position(place.seeding + 1) if env in lost else place
            for env, place in enumerate(self.positions())
        ]
        faults = [self._fault(env, len(self._actions[env]), what) for env, what in lost.items()]
        self.close()
        self._envs = self._make()
        arrival = self.go_to(goals)
        begun = {**arrival.begun, **{env: self._newest[env] for env in lost}}
        return arrival._replace(begun=begun, faults=faults + arrival.faults)

    def close(self) -> None:
        """Close all environments; a worker that does not follow is killed."""
        if not isinstance(self._envs, AsyncVectorEnv):
            self._envs.close()
            return
        for pipe in self._envs.parent_pipes:
            with suppress(OSError, AttributeError):  # gone already
                pipe.send(("close", None))
        for process in self._envs.processes:
            process.join(PARTING_S)
            if process.is_alive():
                process.kill()
                process.join()
        for pipe in self._envs.parent_pipes:
            if pipe is not None:
                pipe.close()
        self._envs.closed = True
