"""Our replay memory beside three others: bytes per transition, time to add, time to draw.

The same work for all: 84 x 84 grey bytes and 512 bytes of sound (or 64 x 8 float16 log-mel), both as stacks
of 4 with the next stacks, episodes of 500 steps. Each peer is set up as sparingly as it can be. In every
repetition each memory is timed in turn, in an order drawn anew, so that noise hits all alike; medians, and in
brackets theirs over ours. Extra: bench, without constraints.txt: Tianshou wants an older filelock.

What is not the same: Stable-Baselines3's and cpprb's ``add`` are given finished stacks, whose making is not
timed. cpprb hands out its stacks with the history as the last axis. Tianshou keeps no last observation of an
episode: the one before it stands in. cpprb does not show its arrays: its bytes are what the process grew by.
"""

import argparse
import time
import warnings
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cpprb
import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.buffers import DictReplayBuffer

from spl.agents.replay.memory import ReplayMemory
from spl.records import Observation, StreamSpec, Transition
from spl.runs.logger import print_table

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its imports are old
    from tianshou.data import Batch
    from tianshou.data import ReplayBuffer as TianshouBuffer

HISTORY, EPISODE, NUM_SEEN = 4, 500, 16
SPECS = {
    "waveform": StreamSpec((1, 84, 84), (1, 1, 512), "int8"),
    "log_mel": StreamSpec((1, 84, 84), (1, 64, 8)),
}
ADDS_PER_REPETITION = 10
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


def resident_bytes() -> int:
    """Return the bytes of RAM that this process has touched."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


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


class Ours(Contender):
    """Each observation stored once; stacks and next observations put together when drawn."""

    def __init__(self, spec: StreamSpec, capacity: int) -> None:
        super().__init__()
        self.seen = [Observation(*one.values(), np.array([True, True])) for one in look(spec)]  # type: ignore[arg-type]
        self.memory = ReplayMemory(spec, capacity, history=HISTORY)
        self.generator = np.random.default_rng(0)

    def add(self) -> None:
        observation, following = self.seen[self.step % NUM_SEEN], self.seen[(self.step + 1) % NUM_SEEN]
        if self.step % EPISODE == 0:
            self.memory.begin(observation)
        self.memory.add(Transition(observation, 1, 0.5, self.ends, False, following))
        self.step += 1

    def draw(self, size: int) -> list[Any]:
        batch = self.memory.sample(size, self.generator)
        return [batch.video, batch.audio, batch.next_video, batch.next_audio]

    def bytes_per_transition(self) -> float:
        return self.memory.bytes_per_transition


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
        self.bytes_before = resident_bytes()
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
        return (resident_bytes() - self.bytes_before) / self.capacity


CONTENDERS: dict[str, type[Any]] = {
    "spl": Ours,
    "stable-baselines3": StableBaselines3,
    "tianshou": Tianshou,
    "cpprb": Cpprb,
}


def check_same_work(contender: Contender, spec: StreamSpec) -> None:
    """Raise ``ValueError`` unless a draw holds both modalities, stacked, now and next."""
    sizes = [int(np.prod(array.shape)) for array in contender.draw(32)]
    expected = [32 * HISTORY * int(np.prod(shape)) for shape in (spec.video, spec.audio)] * 2
    if sizes != expected:
        raise ValueError(f"{type(contender).__name__} must draw {expected} values, got {sizes}")


def time_us(call: Callable[[], object]) -> float:
    """Return the time of one call in microseconds."""
    start = time.perf_counter()
    call()
    return (time.perf_counter() - start) * 1e6


def measure(spec: StreamSpec, num_steps: int, repetitions: int) -> dict[str, list[float]]:
    """Return per memory its bytes a transition and median microseconds per add, draw of 32, draw of 256."""
    contenders: dict[str, Contender] = {}
    num_bytes = {}
    for name, make in CONTENDERS.items():
        contenders[name] = make(spec, num_steps)
        for _ in range(num_steps + EPISODE):  # once around the ring: every page is touched
            contenders[name].add()
        num_bytes[name] = contenders[name].bytes_per_transition()
        check_same_work(contenders[name], spec)
    times: dict[str, tuple[list[float], ...]] = {name: ([], [], []) for name in contenders}
    generator = np.random.default_rng(0)
    for _ in range(repetitions):
        for name in generator.permutation([*contenders]):  # each follows each of the others
            contender, (adds, few, many) = contenders[name], times[name]
            adds.extend(time_us(contender.add) for _ in range(ADDS_PER_REPETITION))
            few.append(time_us(lambda contender=contender: contender.draw(32)))
            many.append(time_us(lambda contender=contender: contender.draw(256)))
    return {name: [num_bytes[name], *(float(np.median(one)) for one in times[name])] for name in contenders}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--num_steps", type=int, default=20_000, help="capacity, and what is added before timing"
    )
    parser.add_argument("--repetitions", type=int, default=200)
    parser.add_argument("--audio", choices=SPECS, default="waveform")
    args = parser.parse_args()
    torch.set_num_threads(1)
    found = measure(SPECS[args.audio], args.num_steps, args.repetitions)
    names = ["bytes per transition", "us per add", "us per draw of 32", "us per draw of 256"]
    rows = []
    for row, name in enumerate(names):
        figures = [values[row] for values in found.values()]
        ratios = [f" ({figure / figures[0]:.2f})" for figure in figures[1:]]
        rows.append(
            [name, *(f"{figure:,.1f}{ratio}" for figure, ratio in zip(figures, ["", *ratios], strict=True))]
        )
    title = f"Replay memory, {args.audio}, {args.num_steps:,} transitions, one thread"
    print_table(title, ["", "spl", *(f"{name} {version(name)}" for name in [*found][1:])], rows)


if __name__ == "__main__":
    main()
