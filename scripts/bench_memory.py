"""Our replay memory beside Stable-Baselines3's ``DictReplayBuffer``: bytes, time to add, time to draw.

The same work for both, in one run: 84 x 84 grey and 64 x 8 float16 log-mel, history 4, episodes of 500 steps.
Medians over repetitions; the ratios are theirs over ours. Extra: bench.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import DictReplayBuffer

from spl.agents.memory import ReplayMemory
from spl.records import Observation, StreamSpec, Transition
from spl.report import print_table

SPEC, HISTORY, EPISODE = StreamSpec((1, 84, 84), (1, 64, 8)), 4, 500


def median_us(call: Callable[[], object], repetitions: int) -> float:
    """Return the median time of one call in microseconds."""
    times = []
    for _ in range(repetitions):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return float(np.median(times)) * 1e6


def observations(generator: np.random.Generator) -> list[Observation]:
    """Return a handful of observations to draw from, so that making them is not timed."""
    return [
        Observation(
            generator.integers(256, size=SPEC.video, dtype=np.uint8),
            generator.random(SPEC.audio).astype(np.float16),
            np.array([True, True]),
        )
        for _ in range(16)
    ]


def ours(num_steps: int, repetitions: int) -> list[float]:
    """Return bytes a transition and microseconds per add, per draw of 32, per draw of 256."""
    generator = np.random.default_rng(0)
    seen = observations(generator)
    memory = ReplayMemory(SPEC, num_steps, history=HISTORY)
    step = 0

    def add() -> None:
        nonlocal step
        if step % EPISODE == 0:
            memory.begin(seen[step % 16])
        ends = step % EPISODE == EPISODE - 1
        memory.add(Transition(seen[step % 16], 1, 0.5, False, ends, seen[(step + 1) % 16]))
        step += 1

    for _ in range(num_steps + EPISODE):  # once around the ring: every page is touched
        add()
    draws = [median_us(lambda size=size: memory.sample(size, generator), repetitions) for size in (32, 256)]
    return [memory.bytes_per_transition, median_us(add, 10 * repetitions), *draws]


def theirs(num_steps: int, repetitions: int) -> list[float]:
    """The same of a buffer that stores stacks, and the next stacks beside them."""
    space = spaces.Dict(
        video=spaces.Box(0, 255, (HISTORY, *SPEC.video[1:]), np.uint8),
        audio=spaces.Box(0, 2, (HISTORY, *SPEC.audio[1:]), np.float16),
    )
    buffer = DictReplayBuffer(num_steps, space, spaces.Discrete(4), device="cpu")
    stacks = [{key: part.sample()[None] for key, part in space.spaces.items()} for _ in range(16)]
    step, action = 0, np.array([[1]])

    def add() -> None:
        nonlocal step
        ends = np.array([step % EPISODE == EPISODE - 1])
        buffer.add(stacks[step % 16], stacks[(step + 1) % 16], action, np.array([0.5]), ends, [{}])
        step += 1

    for _ in range(num_steps + EPISODE):
        add()
    stored = [*buffer.observations.values(), *buffer.next_observations.values()]
    stored += [buffer.actions, buffer.rewards, buffer.dones, buffer.timeouts]
    draws = [median_us(lambda size=size: buffer.sample(size), repetitions) for size in (32, 256)]
    return [sum(array.nbytes for array in stored) / num_steps, median_us(add, 10 * repetitions), *draws]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=20_000, help="capacity, and what is added before timing")
    parser.add_argument("--repetitions", type=int, default=200)
    args = parser.parse_args()
    torch.set_num_threads(1)
    peer, own = theirs(args.steps, args.repetitions), ours(args.steps, args.repetitions)
    names = ["bytes per transition", "us per add", "us per draw of 32", "us per draw of 256"]
    rows = [
        [name, f"{mine:,.1f}", f"{other:,.1f}", f"{other / mine:.2f}"]
        for name, mine, other in zip(names, own, peer, strict=True)
    ]
    title = f"Replay memory, {args.steps:,} transitions, one thread"
    print_table(title, ["", "spl", "SB3 DictReplayBuffer", "ratio"], rows)


if __name__ == "__main__":
    main()
