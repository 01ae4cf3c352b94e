"""Replay memory: one ring per environment, each observation stored once; its folder on disk is a recording.

History, n-step returns and next observations are put together at sampling. Not here: priorities, agents.
"""

import io
import json
import os
from math import ceil
from operator import index
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spl.records import Batch, Observation, StreamSpec, Transition

HISTORY, N_STEP, GAMMA = 4, 1, 0.99  # defaults of a new memory and of a loaded one
FORMAT, VERSION, HEADER = "spl-recording", 1, "recording.json"
_HEADER_KINDS = {"slots": int, "num_envs": int, "capacity": int, "meta": dict, "is_trimming": bool}
_FLOAT32_MAX = float(np.finfo(np.float32).max)

Layout = dict[str, tuple[tuple[int, ...], np.dtype[Any]]]


class Fields(NamedTuple):
    """The arrays of a memory, ``(slots, num_envs, ...)``; each is one ``.npy`` file of a recording."""

    video: NDArray[np.uint8]  # (slots, num_envs, C, H, W)
    audio: NDArray[np.float16]  # (slots, num_envs, C, M, F)
    present: NDArray[np.bool_]  # (slots, num_envs, 2)
    action: NDArray[np.int16]  # taken after the observation of the same slot; -1: none (yet)
    reward: NDArray[np.float32]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    age: NDArray[np.int32]  # steps since the episode's first observation


class _Saved(NamedTuple):
    header: str  # the text this memory left in the folder
    num_clean: list[int]  # per env: slots ever written that the folder holds as the memory does


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
        if folder is not None and (folder / HEADER).exists():
            raise ValueError(
                f"folder {folder} already holds a recording; go on with ReplayMemory.load(..., writable=True)"
            )
        layout = _layout(spec, self.slots, num_envs)
        if folder is None:
            arrays = {name: np.zeros(shape, dtype) for name, (shape, dtype) in layout.items()}
        else:
            _create_files(folder, layout)
            arrays = {name: _open_array(folder, name, *kind, mode="r+") for name, kind in layout.items()}
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
        named = {
            "num_envs": num_envs,
            "history": history,
            "n_step": n_step,
            "slack": slack,
            "capacity": capacity,
        }
        lowest = {"slack": 0, "capacity": 2 * num_envs}  # else 1; a transition takes two observations
        for name, value in named.items():
            if value < (minimum := lowest.get(name, 1)):
                raise ValueError(f"{name} must be at least {minimum}, got {value}")
        if not 0 <= gamma <= 1:
            raise ValueError(f"gamma must be in [0, 1], got {gamma}")
        self.spec, self.capacity, self.num_envs = spec, capacity, num_envs
        self.history, self.n_step, self.gamma = history, n_step, gamma
        self.usable = ceil(capacity / num_envs)  # live slots per environment
        self.slots = self.usable + slack
        self.meta = {}
        self._saved: dict[Path, _Saved] = {}
        self._can_write = True
        self._steps_ahead = np.arange(n_step)
        self._powers = gamma ** np.arange(n_step + 1, dtype=np.float64)
        self._around = np.arange(1 - history, 2)  # steps from the oldest of a stack to the next observation
        kinds = [np.dtype(kind) for kind in (np.uint8, np.float16, np.bool_)]
        self._expected = tuple(zip(Observation._fields, (*spec, (2,)), kinds, strict=True))

    def _adopt(self, arrays: dict[str, NDArray[Any]], written: list[int], folder: Path | None) -> None:
        self.fields, self.folder = Fields(**arrays), folder
        size = self.slots * self.num_envs
        flat = {name: np.asarray(array).reshape(size, *array.shape[2:]) for name, array in arrays.items()}
        self._flat = Fields(**flat)  # axis 0: slot * num_envs + env
        self._sampleable = np.zeros(size, np.bool_)
        self._restore(written)

    def _restore(self, written: list[int]) -> None:
        """Take these counts as the truth: forget what was written past them, find the sampleable again."""
        self._written = list(written)
        self._is_open = [False] * self.num_envs  # whether the newest observation awaits its action
        self._sampleable[:] = False
        for env, count in enumerate(written):
            if count == 0:
                continue
            live = np.arange(max(0, count - self.usable), count) % self.slots * self.num_envs + env
            newest = live[-1]
            self._flat.action[newest], self._flat.reward[newest] = -1, 0.0
            self._flat.terminated[newest] = self._flat.truncated[newest] = False
            action, age = self._flat.action[live], self._flat.age[live]
            ended = self._flat.terminated[live] | self._flat.truncated[live]
            self._is_open[env] = age[-1] == 0 or not ended[-2]
            self._sampleable[live] = _find_sampleable(action, age, ended, self.history, self.n_step)
        self._num_sampleable = int(np.count_nonzero(self._sampleable))

    def __len__(self) -> int:
        """Return the number of sampleable transitions."""
        return self._num_sampleable

    @property
    def written(self) -> tuple[int, ...]:
        """Observations ever written, per environment; number ``i`` lies in slot ``i % slots``."""
        return tuple(self._written)

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays, on disk or in RAM, touched or not."""
        return sum(array.nbytes for array in self.fields) + self._sampleable.nbytes

    @property
    def bytes_per_transition(self) -> float:
        """Bytes of the live slots per sampleable transition; slack slots come on top."""
        num_live = sum(min(count, self.usable) for count in self._written)
        return num_live * self.nbytes / (self.slots * self.num_envs) / max(1, len(self))

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
        flat.terminated[newest] = terminated
        flat.truncated[newest] = truncated
        age = int(flat.age[newest])
        has_ended = bool(terminated or truncated)
        self._append(observation, env, age + 1)
        self._is_open[env] = not has_ended
        self._admit(number, env, age, has_ended)

    def _check(self, observation: Observation, env: int) -> None:
        if not self._can_write:
            raise ValueError("the memory must be writable, got one loaded with mmap=True; add writable=True")
        if not 0 <= env < self.num_envs:
            raise ValueError(f"env must be in 0..{self.num_envs - 1}, got {env}")
        for array, (name, shape, dtype) in zip(observation, self._expected, strict=True):
            if not isinstance(array, np.ndarray) or array.shape != shape or array.dtype != dtype:
                came = f"{getattr(array, 'dtype', type(array).__name__)} {getattr(array, 'shape', '')}"
                raise ValueError(f"{name} must be a {dtype} array of shape {shape}, got {came}")
        if not np.isfinite(observation.audio).all():
            raise ValueError("audio must be finite, got NaN or infinity; mend the spectrogram")

    def _append(self, observation: Observation, env: int, age: int) -> None:
        number = self._written[env]
        if number >= self.usable:
            self._retire(number - self.usable, number, env)
        flat, slot = self._flat, number % self.slots * self.num_envs + env
        flat.video[slot], flat.audio[slot], flat.present[slot] = observation
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
                self._sampleable[(number - back) % self.slots * self.num_envs + env] = True
                self._num_sampleable += 1

    def _retire(self, oldest: int, stop: int, env: int) -> None:
        """Unmark what needs observation ``oldest``, which is about to leave the live window.

        In mid-episode that is itself and the one ``history - 1`` later; an episode's first observation is
        needed by all between, because their whole history is shorter.
        """
        age = int(self._flat.age[oldest % self.slots * self.num_envs + env])
        for ahead in range(self.history) if age == 0 else (0, self.history - 1):
            slot = (oldest + ahead) % self.slots * self.num_envs + env
            is_needed = oldest + ahead < stop and self._flat.age[slot] == age + ahead  # the same episode
            if is_needed and self._sampleable[slot]:
                self._sampleable[slot] = False
                self._num_sampleable -= 1

    def indices(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return slots and environments, each ``(len(self),)``, of all sampleable transitions."""
        return np.divmod(np.flatnonzero(self._sampleable), self.num_envs)

    def sample(self, batch_size: int, generator: np.random.Generator) -> Batch:
        """Draw sampleable transitions uniformly, with replacement.

        Raises:
            ValueError: if ``batch_size`` is not positive or nothing is sampleable yet.
        """
        if batch_size < 1:
            raise ValueError(f"batch_size must be positive, got {batch_size}")
        if self._num_sampleable == 0:
            raise ValueError(f"memory must hold a complete transition, got {self._written} observations")
        num_slots = min(max(self._written), self.slots) * self.num_envs
        if 8 * self._num_sampleable < num_slots:  # too few to hit by chance
            sampleable = np.flatnonzero(self._sampleable)
            return self._gather(sampleable[generator.integers(sampleable.size, size=batch_size)])
        drawn = generator.integers(num_slots, size=batch_size)
        while (rejected := np.flatnonzero(~self._sampleable[drawn])).size > 0:
            drawn[rejected] = generator.integers(num_slots, size=rejected.size)
        return self._gather(drawn)

    def gather(self, slots: NDArray[np.int64], envs: NDArray[np.int64]) -> Batch:
        """Return the transitions at ``slots`` ``(B,)`` of ``envs`` ``(B,)``; tensors may share memory.

        Raises:
            ValueError: if one of them is out of range or not sampleable.
        """
        is_inside = (slots >= 0) & (slots < self.slots) & (envs >= 0) & (envs < self.num_envs)
        flat = np.where(is_inside, slots * self.num_envs + envs, 0)
        wrong = np.flatnonzero(~(is_inside & self._sampleable[flat]))
        if wrong.size > 0:
            first = f"slot {slots[wrong[0]]} of env {envs[wrong[0]]}"
            raise ValueError(f"slots must be sampleable, got {first}; take them from indices()")
        return self._gather(flat)

    def _gather(self, newest: NDArray[np.int64]) -> Batch:
        flat, num_envs = self._flat, self.num_envs
        window = newest[:, None] + self._steps_ahead * num_envs  # (B, n_step), wrapped by take
        terminated = flat.terminated.take(window, mode="wrap")
        has_ended = terminated | flat.truncated.take(window, mode="wrap")
        has_ended[:, -1] = True
        num_ahead = has_ended.argmax(axis=1) + 1  # (B,): m, in 1..n_step
        rewards = flat.reward.take(window, mode="wrap") * self._powers[:-1]
        rewards[self._steps_ahead >= num_ahead[:, None]] = 0.0
        is_cut = terminated[np.arange(newest.size), num_ahead - 1]
        discount = np.where(is_cut, 0.0, self._powers[num_ahead])
        age, following = flat.age.take(newest), newest + num_ahead * num_envs
        if self.n_step == 1:  # both stacks overlap in all but one observation
            video, audio = self._stack(newest, age, self._around)
            stacks = video[:, :-1], audio[:, :-1], video[:, 1:], audio[:, 1:]
        else:
            stacks = (
                *self._stack(newest, age, self._around[:-1]),
                *self._stack(following, age + num_ahead, self._around[:-1]),
            )
        return Batch(
            video=stacks[0],
            audio=stacks[1],
            present=torch.from_numpy(flat.present.take(newest, axis=0)),
            action=torch.from_numpy(flat.action.take(newest).astype(np.int64)),
            reward=torch.from_numpy(rewards.sum(axis=1).astype(np.float32)),
            discount=torch.from_numpy(discount.astype(np.float32)),
            next_video=stacks[2],
            next_audio=stacks[3],
            next_present=torch.from_numpy(flat.present.take(following, axis=0, mode="wrap")),
        )

    def _stack(
        self, newest: NDArray[np.int64], age: NDArray[np.int32], steps: NDArray[np.int64]
    ) -> tuple[Tensor, Tensor]:
        """Return video and audio ``steps`` (T,) away from ``newest`` (B,), zeros before the episode began."""
        slots = newest[:, None] + steps * self.num_envs  # (B, T), wrapped by take
        video = self._flat.video.take(slots, axis=0, mode="wrap")  # (B, T, C, H, W)
        audio = self._flat.audio.take(slots, axis=0, mode="wrap")  # (B, T, C, M, F)
        is_before = age[:, None] + steps < 0
        if is_before.any():
            video[is_before] = 0
            audio[is_before] = 0
        return torch.from_numpy(video), torch.from_numpy(audio)

    def save(self, folder: Path) -> None:
        """Bring the recording in ``folder`` up to date, writing only the slots that changed since last time.

        Arrays first, then the header beside and renamed: a kill in between leaves the last save readable.

        Raises:
            ValueError: if ``folder`` holds a recording that this memory did not leave there.
            TypeError: if JSON cannot hold ``meta``.
        """
        header, place = self._describe(), folder.resolve()
        saved, found = self._saved.get(place), folder / HEADER
        if not found.exists():
            saved = None
        elif saved is None or found.read_text() != saved.header:
            raise ValueError(f"folder {folder} holds a recording of another memory; save to a new folder")
        if self.folder is None or place != self.folder.resolve():
            self._write_changes(folder, None if saved is None else saved.num_clean)
        for array in self.fields:
            if isinstance(array, np.memmap) and self._can_write:
                array.flush()
        _write_header(folder, header)
        self._saved[place] = _Saved(header, list(self._written))

    def _write_changes(self, folder: Path, num_clean: list[int] | None) -> None:
        layout = _layout(self.spec, self.slots, self.num_envs)
        if num_clean is None:
            _create_files(folder, layout)
        for source, (name, kind) in zip(self.fields, layout.items(), strict=True):
            target = _open_array(folder, name, *kind, mode="r+")
            for env, count in enumerate(self._written):
                for rows in _changed_rows(0 if num_clean is None else num_clean[env], count, self.slots):
                    target[rows, env] = source[rows, env]  # type: ignore[index]
            target.flush()

    def _describe(self) -> str:
        layout = _layout(self.spec, self.slots, self.num_envs)
        counts = {"written": self._written, "slots": self.slots, "num_envs": self.num_envs}
        shapes = {"capacity": self.capacity, "spec": self.spec._asdict(), "arrays": _describe_arrays(layout)}
        kind = {"format": FORMAT, "version": VERSION, "is_trimming": False}
        return json.dumps({**kind, **counts, **shapes, "meta": self.meta}, indent=1)

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
            writable: with ``mmap``, go on in ``folder`` itself.

        Raises:
            ValueError: if a file is missing, cut, longer or of another shape, dtype or format than expected.
        """
        header = _read_header(folder)
        slots, num_envs = header["slots"], header["num_envs"]
        if writable and (not mmap or header["is_trimming"]):
            raise ValueError("writable must come with mmap=True and a recording that is not half trimmed")
        capacity = header["capacity"] if capacity is None else capacity
        slack = slots - ceil(capacity / num_envs)
        if slack < 0:
            raise ValueError(
                f"capacity must be at most {slots * num_envs} as {folder} has it, got {capacity}"
            )
        memory = cls.__new__(cls)
        memory._configure(_spec_of(header), capacity, num_envs, history, n_step, gamma, slack)
        arrays = _open_arrays(folder, header, mmap, writable)
        memory._adopt(arrays, header["written"], folder if writable else None)
        memory.meta, memory._can_write = header["meta"], writable or not mmap
        if memory._can_write and not header["is_trimming"]:
            memory._saved[folder.resolve()] = _Saved((folder / HEADER).read_text(), header["written"])
        return memory

    def state_dict(self) -> dict[str, Any]:
        """Return the counts; the arrays are what ``save`` writes."""
        return {"written": list(self._written)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go back to earlier counts of these same arrays, forgetting what was written since.

        Raises:
            ValueError: if the counts do not fit, or the ring has already overwritten what they speak of.
        """
        written = state["written"]
        if not _are_counts(written, self.num_envs):
            raise ValueError(
                f"written must be {self.num_envs} counts, got {written!r}; load this memory's own state"
            )
        for env, (count, newest) in enumerate(zip(written, self._written, strict=True)):
            oldest = max(0, count - self.usable)
            if not newest - self.slots <= oldest <= count <= newest:
                raise ValueError(f"written[{env}] must lie at most the slack behind {newest}, got {count}")
        for place, (header, num_clean) in self._saved.items():
            lower = [min(pair) for pair in zip(num_clean, written, strict=True)]
            self._saved[place] = _Saved(header, lower)
        self._restore(written)


def trim(folder: Path) -> None:
    """Cut a recording that never wrapped to the slots in use; no memory may have it open.

    The header says first that cutting is under way, so a kill leaves the recording readable, and ``trim``
    called again finishes the work.

    Raises:
        ValueError: if the recording has wrapped, holds no transition or is damaged.
    """
    header = _read_header(folder)
    used, num_envs = max(header["written"]), header["num_envs"]
    if not 2 <= used <= header["slots"]:
        raise ValueError(f"{folder} must hold 2..{header['slots']} observations to be trimmed, got {used}")
    layout = _layout(_spec_of(header), used, num_envs)
    for name, kind in layout.items():
        _open_array(folder, name, *kind, may_be_longer=True)
    header |= {"slots": used, "capacity": used * num_envs, "arrays": _describe_arrays(layout)}
    _write_header(folder, json.dumps(header | {"is_trimming": True}, indent=1))
    for name, (shape, dtype) in layout.items():
        text = io.BytesIO()
        described = {"descr": dtype.str, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(text, described)
        with open(folder / f"{name}.npy", "r+b") as file:
            np.lib.format.read_magic(file)
            np.lib.format.read_array_header_1_0(file)
            if file.tell() != text.tell():  # numpy leaves room for the first axis to change
                raise ValueError(f"{name}.npy must have a header of {text.tell()} bytes, got {file.tell()}")
            length = text.tell() + dtype.itemsize * int(np.prod(shape))
            file.seek(0)
            file.write(text.getvalue())
            file.truncate(length)
    _write_header(folder, json.dumps(header | {"is_trimming": False}, indent=1))


def _find_sampleable(
    action: NDArray[np.int16], age: NDArray[np.int32], ended: NDArray[np.bool_], history: int, n_step: int
) -> NDArray[np.bool_]:
    """Return which of one environment's live slots, oldest first, can be sampled; all are ``(L,)``."""
    has_window = np.zeros(age.size, np.bool_)
    for ahead in range(min(n_step + 1, age.size)):
        first = age.size - ahead
        is_same_episode = age[ahead:] == age[:first] + ahead
        has_window[:first] |= is_same_episode & (ended[ahead:] if ahead < n_step else True)
    has_history = np.arange(age.size) >= np.minimum(age, history - 1)
    return has_window & has_history & (action >= 0)


def _layout(spec: StreamSpec, slots: int, num_envs: int) -> Layout:
    """Return shape and dtype of each array by name; bytes are little-endian everywhere."""
    shapes = {"video": spec.video, "audio": spec.audio, "present": (2,)}
    kinds = ("|u1", "<f2", "|b1", "<i2", "<f4", "|b1", "|b1", "<i4")
    return {
        name: ((slots, num_envs, *shapes.get(name, ())), np.dtype(kind))
        for name, kind in zip(Fields._fields, kinds, strict=True)
    }


def _describe_arrays(layout: Layout) -> dict[str, Any]:
    return {name: {"shape": list(shape), "dtype": dtype.str} for name, (shape, dtype) in layout.items()}


def _changed_rows(clean: int, count: int, slots: int) -> list[slice]:
    """Return the rows of one ring that changed since ``clean`` observations, the newest of them included.

    That one's action and reward came later.
    """
    start = max(0, clean - 1, count - slots)
    first, stop = start % slots, start % slots + count - start
    return [slice(first, min(stop, slots)), slice(0, max(0, stop - slots))]


def _create_files(folder: Path, layout: Layout) -> None:
    """Create the arrays as sparse files: they take disk space as they are written."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, (shape, dtype) in layout.items():
        np.lib.format.open_memmap(folder / f"{name}.npy", mode="w+", dtype=dtype, shape=shape)


def _open_arrays(folder: Path, header: dict[str, Any], mmap: bool, writable: bool) -> dict[str, NDArray[Any]]:
    """Return the arrays of a recording: memory maps, or copies of the rows in use.

    The small ones are copied in a read-only memory too: what came after the last save is undone in them.
    """
    arrays: dict[str, NDArray[Any]] = {}
    slots, used = header["slots"], min(max(header["written"]), header["slots"])
    for name, kind in _layout(_spec_of(header), slots, header["num_envs"]).items():
        mode: Literal["r", "r+"] = "r+" if writable else "r"
        mapped = _open_array(folder, name, *kind, mode=mode, may_be_longer=header["is_trimming"])
        arrays[name] = mapped[:slots]
        if not mmap or (not writable and name not in StreamSpec._fields):
            arrays[name] = np.zeros(*kind)
            arrays[name][:used] = mapped[:used]
    return arrays


def _open_array(
    folder: Path,
    name: str,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    *,
    mode: Literal["r", "r+"] = "r",
    may_be_longer: bool = False,
) -> "np.memmap[Any, Any]":
    """Return one array as a memory map, after checking that the file is exactly what the header says."""
    path = folder / f"{name}.npy"
    try:
        array = np.lib.format.open_memmap(path, mode="r")  # r+ would lengthen a cut file
    except (ValueError, OSError) as error:
        raise ValueError(f"{path} must be a whole .npy file without pickles, got: {error}") from error
    if array.dtype != dtype or not array.flags.c_contiguous:
        raise ValueError(
            f"{path} must hold dtype {dtype.str} in C order, got {array.dtype.str}; record it again"
        )
    is_longer = may_be_longer and array.shape[:1] > shape[:1] and array.shape[1:] == shape[1:]
    if array.shape != shape and not is_longer:
        raise ValueError(
            f"{path} must have shape {shape} as {HEADER} says, got {array.shape}; record it again"
        )
    expected, size = array.offset + array.nbytes, path.stat().st_size
    if size != expected and not (may_be_longer and size > expected):
        raise ValueError(f"{path} must have {expected} bytes, got {size}; copy or record it again")
    return array if mode == "r" else np.lib.format.open_memmap(path, mode=mode)


def _are_counts(value: Any, length: int) -> bool:
    """Return whether ``value`` is a list of ``length`` integers from 0 on."""
    return isinstance(value, list) and len(value) == length and all(type(v) is int and v >= 0 for v in value)


def _spec_of(header: dict[str, Any]) -> StreamSpec:
    return StreamSpec(tuple(header["spec"]["video"]), tuple(header["spec"]["audio"]))


def _read_header(folder: Path) -> dict[str, Any]:
    """Return the header of a recording, every entry of it checked."""
    path = folder / HEADER
    try:
        header: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} must be the JSON header of a recording, got: {error}") from error
    came = (header.get("format"), header.get("version")) if isinstance(header, dict) else (None, None)
    if came != (FORMAT, VERSION):
        raise ValueError(
            f"{path} must say format {FORMAT!r} and version {VERSION}, got {came}; convert it first"
        )
    for key, kind in _HEADER_KINDS.items():
        if type(header.get(key)) is not kind:
            raise ValueError(f"{path} must hold {key} as {kind.__name__}, got {header.get(key)!r}")
    slots, num_envs, spec = header["slots"], header["num_envs"], header.get("spec")
    if min(slots, num_envs) < 1 or not _are_counts(header.get("written"), num_envs):
        raise ValueError(f"{path} must hold {num_envs} counts as written, got {header.get('written')!r}")
    if not isinstance(spec, dict) or not all(_are_counts(spec.get(name), 3) for name in StreamSpec._fields):
        raise ValueError(f"{path} must hold spec as the shapes of video and audio, got {spec!r}")
    if header.get("arrays") != _describe_arrays(_layout(_spec_of(header), slots, num_envs)):
        raise ValueError(
            f"{path} must list arrays that follow from spec, slots and num_envs; record it again"
        )
    return header


def _write_header(folder: Path, text: str) -> None:
    """Write the header beside and rename it, so that a kill leaves the old one or the new one."""
    beside = folder / f"{HEADER}.new"
    with open(beside, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, folder / HEADER)
