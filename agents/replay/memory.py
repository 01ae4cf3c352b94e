"""Replay memory: one ring per environment, each observation stored once.

History, n-step returns and next observations are put together at sampling. Not here: priorities, agents, the
files of a recording.
"""

from math import ceil
from operator import index
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from spl.agents.replay.device_copy import Mirror
from spl.agents.replay.persistence import Saves
from spl.agents.replay.stacking import Windows, find_sampleable
from spl.agents.replay.uniform import Sampleable
from spl.data import recording_format as recording
from spl.data.recording_format import Fields, check_sums, flatten, layout_of, live_places
from spl.records import Batch, Observation, StreamSpec, Transition

HISTORY, N_STEP, GAMMA = 4, 1, 0.99  # defaults of a new memory and of a loaded one
_FLOAT32_MAX = float(np.finfo(np.float32).max)


class ReplayMemory:
    """The newest observations of ``num_envs`` environments and what was done and earned at each.

    An episode's final observation takes a slot of its own with action -1. A transition is sampleable while
    its history (as far as its episode reaches back) and its n-step window lie in the newest ``usable`` slots.

    Args:
        spec: shapes of one observation.
        capacity: observations kept over all environments; ``usable = ceil(capacity / num_envs)`` for each.
        num_envs: rings; each is written in its own order.
        history: ``T``, observations in a stack.
        n_step: longest distance to the next observation, in steps.
        gamma: discount of one step, in ``[0, 1]``.
        folder: keeps the arrays there on disk; ``None`` keeps them in RAM, touched only as far as written.
        slack: slots per environment on top. They let what ``save`` left stay readable until the next save,
            if no environment writes more than ``slack`` observations in between.

    Raises:
        ValueError: if a number is out of range or ``folder`` already holds a recording.
        OSError: if the disk of ``folder`` has no room for all slots.
    """

    meta: dict[str, Any]  # anything JSON holds (environment id, sample rate); saved with the arrays

    def __init__(
        self,
        spec: StreamSpec,
        capacity: int,
        *,
        num_envs: int = 1,
        history: int = HISTORY,
        n_step: int = N_STEP,
        gamma: float = GAMMA,
        folder: Path | None = None,
        slack: int = 0,
    ) -> None:
        self._configure(spec, capacity, num_envs, history, n_step, gamma, slack)
        if folder is not None and (folder / recording.HEADER).exists():
            raise ValueError(
                f"folder {folder} already holds a recording; go on with ReplayMemory.load(..., writable=True)"
            )
        layout = layout_of(spec, self.slots, num_envs)
        if folder is None:
            arrays = {name: np.zeros(shape, dtype) for name, (shape, dtype) in layout.items()}
        else:
            arrays = recording.create_arrays(folder, layout)
        self._adopt(arrays, [0] * num_envs, folder)

    def _configure(
        self,
        spec: StreamSpec,
        capacity: int,
        num_envs: int,
        history: int,
        n_step: int,
        gamma: float,
        slack: int,
    ) -> None:
        values = (num_envs, history, n_step, slack, capacity)
        lowest = (1, 1, 1, 0, 2 * num_envs)  # a transition takes two observations
        names = ("num_envs", "history", "n_step", "slack", "capacity")
        for name, value, minimum in zip(names, values, lowest, strict=True):
            if value < minimum:
                raise ValueError(f"{name} must be at least {minimum}, got {value}")
        if not 0 <= gamma <= 1:
            raise ValueError(f"gamma must be in [0, 1], got {gamma}")
        self.spec, self.capacity, self.num_envs = spec, capacity, num_envs
        self.history, self.n_step, self.gamma = history, n_step, gamma
        self.usable = ceil(capacity / num_envs)  # live slots per environment
        self.slots = self.usable + slack
        self.meta = {}
        self._saves = Saves()
        self._can_write = True
        self._place: Path | None = None  # where it was loaded from

    def _adopt(self, arrays: dict[str, NDArray[Any]], written: list[int], folder: Path | None) -> None:
        self.fields, self.folder = Fields(**arrays), folder
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

    def begin(self, observation: Observation, env: int = 0) -> None:
        """Write an episode's first observation; an episode that was still open stays without an end.

        Raises:
            ValueError: if the memory is read-only, ``env`` is out of range or the observation does not fit.
        """
        self._check(observation, env)
        self._append(observation, env, age=0)
        self._is_open[env] = True

    def add(self, transition: Transition, env: int = 0) -> None:
        """Complete the newest observation with what was done and earned, and write the next one.

        ``transition.observation`` is not read: it is what ``begin`` or ``add`` wrote last.

        Raises:
            ValueError: if no episode is open or something does not fit or is not finite; nothing is written.
            TypeError: if the action is not an integer.
        """
        _, action, reward, terminated, truncated, observation = transition
        self._check(observation, env)
        if not self._is_open[env]:
            raise ValueError(f"env {env} must have an open episode, got none; call begin first")
        if not 0 <= index(action) <= 32767:
            raise ValueError(f"action must be in 0..32767, got {action}")
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
        self._append(observation, env, age + 1)
        self._is_open[env] = not has_ended
        self._admit(number, env, age, has_ended)

    def _check(self, observation: Observation, env: int) -> None:
        if not self._can_write:
            raise ValueError("the memory must be writable, got one loaded with mmap=True; add writable=True")
        if not 0 <= env < self.num_envs:
            raise ValueError(f"env must be in 0..{self.num_envs - 1}, got {env}")
        recording.check_fits(observation, self._expected)

    def _append(self, observation: Observation, env: int, age: int) -> None:
        number = self._written[env]
        if number >= self.usable:
            self._retire(number - self.usable, number, env)
        flat, slot = self._flat, number % self.slots * self.num_envs + env
        flat.video[slot], flat.audio[slot], flat.present[slot] = observation
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

    def indices(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return slots and environments, each ``(len(self),)``, of all sampleable transitions."""
        return np.divmod(self.sampleable.places(), self.num_envs)

    def sample(self, batch_size: int, generator: np.random.Generator) -> Batch:
        """Return ``batch_size`` transitions as :meth:`draw` chooses them."""
        return self.at(self.draw(batch_size, generator))

    def draw(self, batch_size: int, generator: np.random.Generator) -> NDArray[np.int64]:
        """Draw sampleable transitions uniformly, with replacement; return ``(B,)`` places for :meth:`at`.

        Raises:
            ValueError: if ``batch_size`` is not positive or nothing is sampleable yet.
        """
        num_slots = min(max(self._written), self.slots) * self.num_envs
        return self.sampleable.draw(batch_size, num_slots, generator)

    def gather(self, slots: NDArray[np.int64], envs: NDArray[np.int64]) -> Batch:
        """Return the transitions at ``slots`` ``(B,)`` of ``envs`` ``(B,)``; tensors may share memory.

        Raises:
            ValueError: if one of them is out of range or not sampleable.
        """
        is_inside = (slots >= 0) & (slots < self.slots) & (envs >= 0) & (envs < self.num_envs)
        flat = np.where(is_inside, slots * self.num_envs + envs, 0)
        wrong = np.flatnonzero(~(is_inside & self.sampleable.mask[flat]))
        if wrong.size > 0:
            first = f"slot {slots[wrong[0]]} of env {envs[wrong[0]]}"
            raise ValueError(f"slots must be sampleable, got {first}; take them from indices()")
        return self.at(flat)

    def at(self, newest: NDArray[np.int64]) -> Batch:
        """Return the transitions at places that :meth:`draw` chose; none may have been overwritten since."""
        return self._windows.batch(newest)

    def actions_at(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the actions ``(B,)`` of the transitions at places that :meth:`draw` chose."""
        return self._flat.action[places].astype(np.int64)

    def rewards_at(self, places: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the rewards ``(B,)`` of the transitions at places that :meth:`draw` chose, over n steps."""
        return self._windows.rewards(places)

    def save(self, folder: Path) -> None:
        """Bring the recording in ``folder`` up to date, writing only the slots that changed since last time.

        Arrays first, then the header beside and renamed: a kill in between leaves the last save readable.

        Raises:
            ValueError: if ``folder`` holds a recording that this memory did not leave there.
            TypeError: if JSON cannot hold ``meta``.
            OSError: if the disk refuses; the last save stays.
        """
        layout = layout_of(self.spec, self.slots, self.num_envs)
        header = recording.describe(
            layout, spec=self.spec, written=self._written, capacity=self.capacity, meta=self.meta
        )
        self._saves.sum_up(self._flat, self._written)
        self._saves.write(folder, header, self.fields, self._written, layout, self.folder)

    @classmethod
    def load(
        cls,
        folder: Path,
        *,
        history: int = HISTORY,
        n_step: int = N_STEP,
        gamma: float = GAMMA,
        capacity: int | None = None,
        mmap: bool = False,
        writable: bool = False,
    ) -> "ReplayMemory":
        """Return the memory that ``save`` left in ``folder``; what it does not record is the constructor's.

        Args:
            capacity: at most what the recording's slots can hold; ``None`` takes the recorded one.
            mmap: leave video and audio on disk, read-only.
            writable: with ``mmap``, go on in ``folder`` itself. Whether the checksums hold is looked at by
                `load_state_dict`: after a kill the newest slots may have been written past the header.

        Raises:
            ValueError: if a file is missing, cut, longer or of another shape, dtype or format than expected,
                or holds something else than was saved.
        """
        try:
            header, arrays = recording.open_recording(folder, mmap=mmap, writable=writable)
        except ValueError as error:
            raise _or_without(folder, error) from error
        slots, num_envs = header["slots"], header["num_envs"]
        capacity = header["capacity"] if capacity is None else capacity
        slack = slots - ceil(capacity / num_envs)
        if slack < 0:
            raise ValueError(
                f"capacity must be at most {slots * num_envs} as {folder} has it, got {capacity}"
            )
        memory = cls.__new__(cls)
        memory._configure(recording.spec_of(header), capacity, num_envs, history, n_step, gamma, slack)
        memory._place = folder
        if not writable:
            memory._check_sums(flatten(arrays), header["written"])
        memory._adopt(arrays, header["written"], folder if writable else None)
        memory.meta, memory._can_write = header["meta"], writable or not mmap
        if memory._can_write and not header["is_trimming"]:
            memory._saves.add(folder, header["written"])
        return memory

    def mirror_on(self, device: torch.device) -> None:
        """Keep pictures and sounds on ``device`` as well: their stacks are made there from now on."""
        self._windows.mirror = Mirror(self._flat.video, self._flat.audio, device)

    def state_dict(self) -> dict[str, Any]:
        """Return the counts; the arrays are what ``save`` writes."""
        return {"written": list(self._written)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go back to earlier counts of these same arrays, forgetting what was written since.

        Raises:
            ValueError: if the counts do not fit, or the ring has already overwritten what they speak of.
        """
        written = state["written"]
        if not recording.are_counts(written, self.num_envs):
            raise ValueError(
                f"written must be {self.num_envs} counts, got {written!r}; load this memory's own state"
            )
        for env, (count, newest) in enumerate(zip(written, self._written, strict=True)):
            oldest = max(0, count - self.usable)
            if not newest - self.slots <= oldest <= count <= newest:
                raise ValueError(
                    f"written[{env}] must lie at most the slack behind {newest}, got {count}: these are not "
                    "the observations that were remembered then; move the memory away to collect anew"
                )
        if self._place is not None and (self.folder is not None or written != self._written):
            self._check_sums(self._flat, written)
        self._saves.go_back(written)
        self._restore(written)

    def _check_sums(self, flat: Fields, written: list[int]) -> None:
        """Look whether the arrays hold what was saved in the folder that they were loaded from."""
        assert self._place is not None
        try:
            check_sums(flat, written, usable=self.usable, slots=self.slots, folder=self._place)
        except ValueError as error:
            raise _or_without(self._place, error) from error


def _or_without(folder: Path, error: ValueError) -> ValueError:
    return ValueError(f"{error}; or move {folder} away and go on without it")
