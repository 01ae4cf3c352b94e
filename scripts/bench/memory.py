"""Our replay memory against three others: bytes per transition, time to add, time to sample.

The same work for all: 84 x 84 grey bytes and 512 bytes of sound (or 64 x 8 float16 log-mel), both as stacks
of 4 with the next stacks, episodes of 500 steps. Each baseline is set up as sparingly as it can be. In every
repetition each memory is timed in turn, in a new random order, so that noise hits all alike; medians, and in
brackets theirs over ours. Extra: bench, without constraints.txt: Tianshou wants an older filelock.

What is not the same: Stable-Baselines3's and cpprb's ``add`` are given finished stacks, whose making is not
timed. cpprb hands out its stacks with the history as the last axis. Tianshou keeps no last observation of an
episode: the one before it stands in. cpprb does not show its arrays: its bytes are what the process grew by.
"""

import argparse
from functools import partial
from importlib.metadata import version
from typing import Any

import numpy as np
import torch

from contenders.replay import (
    EPISODE,
    HISTORY,
    NUM_SEEN,
    Contender,
    Cpprb,
    StableBaselines3,
    Tianshou,
    look,
)
from spl.agents.replay.memory import ReplayMemory
from spl.records import Observation, StreamSpec, Transition
from spl.runs.logger import print_table
from timing import seconds, take_turns

SPECS = {
    "waveform": StreamSpec((1, 84, 84), (1, 1, 512), "int8"),
    "log_mel": StreamSpec((1, 84, 84), (1, 64, 8)),
}
ADDS_PER_REPETITION = 10


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


CONTENDERS: dict[str, type[Any]] = {
    "spl": Ours,
    "stable-baselines3": StableBaselines3,
    "tianshou": Tianshou,
    "cpprb": Cpprb,
}


def check_same_work(contender: Contender, spec: StreamSpec) -> None:
    """Raise ``ValueError`` unless a draw holds both streams, stacked, now and next."""
    sizes = [int(np.prod(array.shape)) for array in contender.draw(32)]
    expected = [32 * HISTORY * int(np.prod(shape)) for shape in (spec.video, spec.audio)] * 2
    if sizes != expected:
        raise ValueError(f"{type(contender).__name__} must draw {expected} values, got {sizes}")


def times_us(contender: Contender) -> tuple[list[float], float, float]:
    """Return the microseconds of ten adds, one by one, of a draw of 32, and of a draw of 256."""
    adds = [1e6 * seconds(contender.add) for _ in range(ADDS_PER_REPETITION)]
    few, many = (1e6 * seconds(partial(contender.draw, size)) for size in (32, 256))
    return adds, few, many


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
    times = take_turns({name: partial(times_us, one) for name, one in contenders.items()}, repetitions)
    found = {}
    for name, rounds in times.items():
        adds, few, many = zip(*rounds, strict=True)
        found[name] = [num_bytes[name], *(float(np.median(values)) for values in (adds, few, many))]
    return found


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
