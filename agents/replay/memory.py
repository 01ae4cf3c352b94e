"""Replay memory: one ring per environment, each observation stored once.

History, n-step returns and next observations are put together at sampling. How the rings are written is in
`spl.agents.replay.rings`. Not here: priorities, agents, the files of a recording.
"""

from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from spl.agents.replay.device_copy import Mirror
from spl.agents.replay.persistence import Saves
from spl.agents.replay.rings import Rings
from spl.agents.replay.sequences import Sequences, Unroll
from spl.data import recording_files, recording_format
from spl.data.recording_format import Fields, layout_of
from spl.data.recording_places import check_sums, flatten
from spl.records import Batch, Following, StreamSpec

HISTORY, N_STEP, GAMMA = 4, 1, 0.99  # defaults of a new memory and of a loaded one


class ReplayMemory(Rings):
    """The newest observations of ``num_envs`` environments and what was done and earned at each.

    An episode's final observation takes a slot of its own with action -1. A transition is sampleable while
    its history (as far as its episode reaches back) and its n-step window lie in the newest ``usable`` slots.

    Args:
        spec: shapes of one observation.
        capacity: observations kept over all environments; ``usable = ceil(capacity / num_envs)`` for each.
            Not transitions, fewer by one an episode: RAM is reserved before it is known how long these are.
        num_envs: rings; each is written in its own order.
        num_dimensions: ``J``, numbers that make an action.
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
        num_dimensions: int = 1,
        history: int = HISTORY,
        n_step: int = N_STEP,
        gamma: float = GAMMA,
        folder: Path | None = None,
        slack: int = 0,
    ) -> None:
        self.num_dimensions = num_dimensions
        self._configure(spec, capacity, num_envs, history, n_step, gamma, slack)
        if folder is not None and (folder / recording_format.HEADER).exists():
            raise ValueError(
                f"folder {folder} holds a recording; open it with ReplayMemory.load(..., writable=True)"
            )
        layout = layout_of(spec, self.slots, num_envs, num_dimensions)
        if folder is None:
            arrays = {name: np.zeros(shape, dtype) for name, (shape, dtype) in layout.items()}
        else:
            arrays = recording_files.create_arrays(folder, layout)
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

    def sequences_at(
        self, places: NDArray[np.int64], generator: np.random.Generator, unroll: Unroll
    ) -> Sequences:
        """Return a sequence around each of the places ``(B,)`` that :meth:`draw` chose.

        The place is any of the learned steps, all alike, as ``generator`` draws. So every step of every
        episode is learned as often as any other where each sequence counts once.
        """
        learned_before = generator.integers(unroll.learned, size=(places.size, 1))
        steps = np.arange(-unroll.burn_in, unroll.learned + self.n_step) - learned_before  # (B, W)
        around, is_there = self.around(places, steps)
        is_sampleable = is_there & self.sampleable.mask[around]
        is_there = np.where(steps > 0, is_there, is_sampleable)  # the first has its whole history
        learned = slice(unroll.burn_in, unroll.burn_in + unroll.learned)
        return self._windows.sequences(around, is_there, is_sampleable[:, learned], learned)

    def one_ahead(self, places: NDArray[np.int64]) -> Following | None:
        """Return what came one step ahead at places of :meth:`draw`; None where :meth:`at` tells it."""
        return None if self._windows.n_step == 1 else self._windows.one_ahead(places)

    def look_ahead(self, n_step: int, gamma: float) -> None:
        """From now on sum ``n_step`` rewards at most, discounted by ``gamma``; what is sampleable stays.

        Raises:
            ValueError: if ``n_step`` is not in 1..``self.n_step``, for which the memory was made.
        """
        if not 1 <= n_step <= self.n_step:
            raise ValueError(f"n_step must be in 1..{self.n_step}, as this memory was made, got {n_step}")
        self._windows.look_ahead(n_step, gamma)

    def actions_at(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the actions ``(B,)``, or ``(B, J)``, of the transitions at places of :meth:`draw`."""
        return self._flat.action[places].astype(np.int64)

    def episodes_at(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return a number ``(B,)`` for the episode of each of the places that :meth:`draw` chose."""
        began = places - self._flat.age[places].astype(np.int64) * self.num_envs
        return began % (self.slots * self.num_envs)

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
        layout = layout_of(self.spec, self.slots, self.num_envs, self.num_dimensions)
        header = recording_format.describe(
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
            header, arrays = recording_files.open_recording(folder, mmap=mmap, writable=writable)
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
        memory.num_dimensions = recording_format.dimensions_in(header)
        memory._configure(recording_format.spec_of(header), capacity, num_envs, history, n_step, gamma, slack)
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
        if not recording_format.are_counts(written, self.num_envs):
            raise ValueError(
                f"written must be {self.num_envs} counts, got {written!r}; load this memory's own state"
            )
        for env, (count, newest) in enumerate(zip(written, self._written, strict=True)):
            oldest = max(0, count - self.usable)
            if not newest - self.slots <= oldest <= count <= newest:
                raise ValueError(
                    f"written[{env}] must be at most the slack behind {newest}, got {count}: these are not "
                    "the observations that were saved; move the memory away to collect again"
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
    return ValueError(f"{error}; or move {folder} away and resume without it")
