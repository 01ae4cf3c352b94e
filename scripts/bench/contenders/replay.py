"""The replay memories of other libraries that ``memory.py`` compares with ours. Extra: bench."""

import warnings
from collections.abc import Iterator
from typing import Any

import cpprb
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.buffers import DictReplayBuffer

from spl.records import StreamSpec
from timing import memory_bytes

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its imports are old
    from tianshou.data import Batch
    from tianshou.data import ReplayBuffer as TianshouBuffer

HISTORY, EPISODE, NUM_SEEN = 4, 500, 16
Seen = list[dict[str, NDArray[Any]]]  # a few observations in turn, so that making them is not timed


def look(spec: StreamSpec) -> Seen:
    """Return ``NUM_SEEN`` random observations."""
    generator = np.random.default_rng(0)
    seen = []
    for _ in range(NUM_SEEN):
        sound = (
            generator.normal(0.0, 40.0, spec.audio)
            if spec.audio_dtype == "int8"
            else generator.random(spec.audio)
        )
        video = generator.integers(256, size=spec.video, dtype=np.uint8)
        seen.append({"video": video, "audio": np.clip(sound, -128, 127).astype(spec.audio_dtype)})
    return seen


def stacks_of(seen: Seen, axis: int) -> Seen:
    """Return the stack that ends with each of ``seen``, which follow each other round and round."""
    return [
        {
            key: np.stack([seen[end - back][key] for back in reversed(range(HISTORY))], axis=axis)
            for key in seen[0]
        }
        for end in range(NUM_SEEN)
    ]


class Contender:
    """A memory under test; ``step`` counts what was added."""

    def __init__(self) -> None:
        self.step = 0

    @property
    def ends(self) -> bool:
        """Whether the next step is the last of its episode."""
        return self.step % EPISODE == EPISODE - 1

    def add(self) -> None:
        """Add the next step."""
        raise NotImplementedError

    def draw(self, size: int) -> list[Any]:
        """Return video, audio, next video and next audio of ``size`` transitions, as arrays or tensors."""
        raise NotImplementedError

    def bytes_per_transition(self) -> float:
        """Return what was taken, divided by what can be drawn."""
        raise NotImplementedError


class StableBaselines3(Contender):
    """Stores stacks, and the next stacks beside them: its ``Dict`` buffer knows no saving mode."""

    def __init__(self, spec: StreamSpec, capacity: int) -> None:
        super().__init__()
        self.stacks = [{key: value[None] for key, value in one.items()} for one in stacks_of(look(spec), 0)]
        low, high = (-128, 127) if spec.audio_dtype == "int8" else (0, 2)
        space = spaces.Dict(
            video=spaces.Box(0, 255, (HISTORY, *spec.video), np.uint8),
            audio=spaces.Box(low, high, (HISTORY, *spec.audio), np.dtype(spec.audio_dtype).type),
        )
        self.capacity = capacity
        self.buffer = DictReplayBuffer(capacity, space, spaces.Discrete(4), device="cpu")
        self.action, self.reward = np.array([[1]]), np.array([0.5])

    def add(self) -> None:
        stack, following = self.stacks[self.step % NUM_SEEN], self.stacks[(self.step + 1) % NUM_SEEN]
        self.buffer.add(stack, following, self.action, self.reward, np.array([self.ends]), [{}])
        self.step += 1

    def draw(self, size: int) -> list[Any]:
        samples = self.buffer.sample(size)
        return [*samples.observations.values(), *samples.next_observations.values()]

    def bytes_per_transition(self) -> float:
        arrays = [*self.buffer.observations.values(), *self.buffer.next_observations.values()]
        arrays += [self.buffer.actions, self.buffer.rewards, self.buffer.dones, self.buffer.timeouts]
        return sum(array.nbytes for array in arrays) / self.capacity


class Tianshou(Contender):
    """Stores each observation once (``ignore_obs_next``) and stacks when drawn (``stack_num``)."""

    def __init__(self, spec: StreamSpec, capacity: int) -> None:
        super().__init__()
        self.seen, self.capacity = look(spec), capacity
        self.buffer = TianshouBuffer(capacity, stack_num=HISTORY, ignore_obs_next=True)

    def add(self) -> None:
        observation = Batch(self.seen[self.step % NUM_SEEN])
        self.buffer.add(
            Batch(obs=observation, act=1, rew=0.5, terminated=self.ends, truncated=False, info={})
        )
        self.step += 1

    def draw(self, size: int) -> list[Any]:
        batch, _ = self.buffer.sample(size)
        return [batch.obs.video, batch.obs.audio, batch.obs_next.video, batch.obs_next.audio]

    def bytes_per_transition(self) -> float:
        return sum(array.nbytes for array in _arrays(self.buffer._meta)) / self.capacity


def _arrays(batch: Any) -> Iterator[NDArray[Any]]:
    for value in batch.values():
        if isinstance(value, np.ndarray):
            yield value
        else:
            yield from _arrays(value)


class Cpprb(Contender):
    """Stores one step of each stack (``stack_compress``), shared with the next stack (``next_of``)."""

    def __init__(self, spec: StreamSpec, capacity: int) -> None:
        super().__init__()
        self.stacks, self.capacity = stacks_of(look(spec), -1), capacity
        self.bytes_before = memory_bytes("VmRSS")
        streams = {
            "video": {"shape": (*spec.video, HISTORY), "dtype": np.uint8},
            "audio": {"shape": (*spec.audio, HISTORY), "dtype": np.dtype(spec.audio_dtype).type},
        }
        flags = {"action": {"dtype": np.int64}, "reward": {}, "done": {"dtype": np.bool_}}
        names = tuple(streams)
        self.buffer = cpprb.ReplayBuffer(capacity, {**streams, **flags}, next_of=names, stack_compress=names)

    def add(self) -> None:
        stack, following = self.stacks[self.step % NUM_SEEN], self.stacks[(self.step + 1) % NUM_SEEN]
        ends = self.ends
        self.buffer.add(
            **stack,
            next_video=following["video"],
            next_audio=following["audio"],
            action=1,
            reward=0.5,
            done=ends,
        )
        if ends:
            self.buffer.on_episode_end()
        self.step += 1

    def draw(self, size: int) -> list[Any]:
        samples = self.buffer.sample(size)
        return [samples[key] for key in ("video", "audio", "next_video", "next_audio")]

    def bytes_per_transition(self) -> float:
        return (memory_bytes("VmRSS") - self.bytes_before) / self.capacity
