"""The rings of a replay memory: how steps are written, and which transitions can be sampled.

Drawing from them and their files are the memory's.
"""

from operator import index
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spl.agents.replay.stacking import Windows, find_sampleable
from spl.agents.replay.uniform import Sampleable
from spl.data import recording_format
from spl.data.recording_format import fields_of, layout_of
from spl.data.recording_places import flatten, live_places
from spl.records import NO_STATE, Observation, StreamSpec, Transition

_FLOAT32_MAX = float(np.finfo(np.float32).max)


class Rings:
    """One ring of observations per environment, in each of which the newest overwrites the oldest.

    ``ReplayMemory`` tells what the attributes mean.
    """

    spec: StreamSpec
    num_envs: int
    num_dimensions: int  # of an action
    history: int
    n_step: int
    gamma: float
    usable: int  # live slots per environment
    slots: int  # with the slack
    _can_write: bool

    def _adopt(self, arrays: dict[str, NDArray[Any]], written: list[int], folder: Path | None) -> None:
        self.fields, self.folder = fields_of(arrays), folder
        self._flat = flatten(arrays)  # axis 0: slot * num_envs + env
        layout = layout_of(self.spec, 1, 1)
        self._expected = {name: (shape[2:], dtype) for name, (shape, dtype) in layout.items()}
        self._windows = Windows(self._flat, self.num_envs, self.history, self.n_step, self.gamma)
        self.sampleable = Sampleable(self.slots * self.num_envs)
        self._restore(written)

    def _restore(self, written: list[int]) -> None:
        """Take these counts as the truth: forget what was written past them, find the sampleable again."""
        self._written = list(written)
        self._is_open = [False] * self.num_envs  # whether the newest observation awaits its action
        mask = np.zeros_like(self.sampleable.mask)
        for env, count in enumerate(written):
            if count == 0:
                continue
            live = live_places(count, env, usable=self.usable, slots=self.slots, num_envs=self.num_envs)
            newest = live[-1]
            self._flat.action[newest], self._flat.reward[newest] = -1, 0.0
            self._flat.terminated[newest] = self._flat.truncated[newest] = False
            action, age = self._flat.action[live], self._flat.age[live]
            ended = self._flat.terminated[live] | self._flat.truncated[live]
            self._is_open[env] = age[-1] == 0 or not ended[-2]
            mask[live] = find_sampleable(action, age, ended, self.history, self.n_step)
        self.sampleable.renew(mask)

    def __len__(self) -> int:
        """Return the number of sampleable transitions."""
        return self.sampleable.count

    @property
    def written(self) -> tuple[int, ...]:
        """Observations ever written, per environment; number ``i`` lies in slot ``i % slots``."""
        return tuple(self._written)

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays, on disk or in RAM, touched or not."""
        return sum(array.nbytes for array in self.fields) + self.sampleable.mask.nbytes

    @property
    def bytes_per_transition(self) -> float:
        """Bytes of the live slots per sampleable transition; slack slots come on top."""
        num_live = sum(min(count, self.usable) for count in self._written)
        return num_live * self.nbytes / (self.slots * self.num_envs) / max(1, len(self))

    def is_open(self, env: int = 0) -> bool:
        """Whether the newest observation of ``env`` awaits what is done next."""
        return self._is_open[env]

    def around(
        self, places: NDArray[np.int64], steps: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return what lies ``steps (B, W)`` from ``places (B,)``, and whether that episode is live there."""
        slot, env = np.divmod(places, self.num_envs)
        newest = np.array(self._written)[env] - 1
        number = (newest - (newest - slot) % self.slots)[:, None] + steps  # of the observations: (B, W)
        found = number % self.slots * self.num_envs + env[:, None]
        is_live = (number <= newest[:, None]) & (number > newest[:, None] - self.usable)
        return found, is_live & (self._flat.age[found] == self._flat.age[places][:, None] + steps)

    def begin(
        self, observation: Observation, env: int = 0, recurrent: NDArray[np.float32] = NO_STATE
    ) -> None:
        """Write an episode's first observation; an episode that was still open stays without an end.

        Args:
            observation: the first.
            env: the ring.
            recurrent: ``(R,)``, an agent's state before that step.

        Raises:
            ValueError: if the memory is read-only, ``env`` is out of range or the observation does not fit.
        """
        self._check(observation, env, recurrent)
        self._append(observation, env, recurrent, age=0)
        self._is_open[env] = True

    def add(self, transition: Transition, env: int = 0, recurrent: NDArray[np.float32] = NO_STATE) -> None:
        """Complete the newest observation with what was done and earned, and write the next one.

        ``transition.observation`` is not read: it is what ``begin`` or ``add`` wrote last. ``recurrent (R,)``
        is an agent's state before the step that comes next.

        Raises:
            ValueError: if no episode is open or something does not fit or is not finite; nothing is written.
            TypeError: if the action is not an integer, or several.
        """
        _, action, reward, terminated, truncated, observation = transition
        self._check(observation, env, recurrent)
        if not self._is_open[env]:
            raise ValueError(f"env {env} must have an open episode, got none; call begin first")
        numbers = [index(one) for one in ([action] if isinstance(action, int | np.integer) else action)]
        if len(numbers) != self.num_dimensions or not all(0 <= one <= 32767 for one in numbers):
            several = "" if self.num_dimensions == 1 else f" {self.num_dimensions} numbers"
            raise ValueError(f"action must be{several} in 0..32767, got {action}")
        if not abs(reward) <= _FLOAT32_MAX:  # NaN compares false
            raise ValueError(f"reward must be a finite float32, got {reward}; mend or clip it before add")
        flat, number = self._flat, self._written[env] - 1
        newest = number % self.slots * self.num_envs + env
        flat.action[newest] = action
        flat.reward[newest] = reward
        has_ended = bool(terminated or truncated)
        if has_ended:  # else they are False since it was appended
            flat.terminated[newest], flat.truncated[newest] = terminated, truncated
        age = int(flat.age[newest])
        self._append(observation, env, recurrent, age + 1)
        self._is_open[env] = not has_ended
        self._admit(number, env, age, has_ended)

    def _check(self, observation: Observation, env: int, recurrent: NDArray[np.float32]) -> None:
        if not self._can_write:
            raise ValueError("the memory must be writable, got one loaded with mmap=True; add writable=True")
        if not 0 <= env < self.num_envs:
            raise ValueError(f"env must be in 0..{self.num_envs - 1}, got {env}")
        recording_format.check_fits(observation, self._expected)
        if recurrent.shape != (self.spec.recurrent,):
            raise ValueError(f"recurrent must have shape {(self.spec.recurrent,)}, got {recurrent.shape}")

    def _append(self, observation: Observation, env: int, recurrent: NDArray[np.float32], age: int) -> None:
        number = self._written[env]
        if number >= self.usable:
            self._retire(number - self.usable, number, env)
        flat, slot = self._flat, number % self.slots * self.num_envs + env
        flat.video[slot], flat.audio[slot], flat.present[slot], flat.state[slot] = observation
        flat.recurrent[slot] = recurrent
        if self._windows.mirror is not None:
            self._windows.mirror.write(slot, observation)
        flat.action[slot] = -1
        flat.reward[slot] = 0.0
        flat.terminated[slot] = flat.truncated[slot] = False
        flat.age[slot] = age
        self._written[env] = number + 1

    def _admit(self, number: int, env: int, age: int, has_ended: bool) -> None:
        """Mark the transitions whose n-step window became complete with transition ``number``."""
        reach, oldest = self.n_step - 1, max(0, self._written[env] - self.usable)
        nearest = 0 if has_ended else reach
        for back in range(nearest, min(age, reach) + 1):
            if number - back - min(age - back, self.history - 1) >= oldest:
                self.sampleable.admit((number - back) % self.slots * self.num_envs + env)

    def _retire(self, oldest: int, stop: int, env: int) -> None:
        """Unmark what needs observation ``oldest``, which is about to leave the live window.

        In mid-episode that is itself and the one ``history - 1`` later; an episode's first observation is
        needed by all between, because their whole history is shorter.
        """
        age = int(self._flat.age[oldest % self.slots * self.num_envs + env])
        for ahead in range(self.history) if age == 0 else (0, self.history - 1):
            slot = (oldest + ahead) % self.slots * self.num_envs + env
            if oldest + ahead < stop and self._flat.age[slot] == age + ahead:  # the same episode
                self.sampleable.retire(slot)
