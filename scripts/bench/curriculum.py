"""The cost of a curriculum in replay: updates a second of each against uniform, in the same process.

A memory is filled with random pictures and sounds, each with a last loss as in the middle of a run. Each
curriculum has an agent of its own and learns in turn, in an order drawn again in every repetition, so that
noise hits all alike. Between updates the memory takes in what environments would have brought, not timed.
The share learned is held at each of ``--shares``; where everything is learned, a pace costs nothing. Printed
are medians of the updates a second, and of the ratios to uniform within a repetition.

    python scripts/bench/curriculum.py --repeats 15 --options --encoder.video_stream nature
"""

import argparse
import time
from functools import partial
from typing import Any

import numpy as np
import torch

from spl.agents.collectors.progress import Progress
from spl.agents.config import TrainAgentConfig, build_agent
from spl.agents.curriculum import ReplayCurriculum
from spl.agents.curriculum_config import ReplayCurriculumConfig
from spl.agents.loop import learn
from spl.agents.replay.memory import ReplayMemory
from spl.config.parse import parse
from spl.records import Observation, StreamSpec, Transition
from spl.runs.logger import print_table
from timing import ratios, take_turns

SPEC = StreamSpec((1, 84, 84), (1, 64, 8))
NUM_ACTIONS, EPISODE, NUM_SEEN = 4, 200, 64


class World:
    """A memory and what fills it: random observations in turn, one step in ten with a reward."""

    def __init__(self, config: TrainAgentConfig, num: int) -> None:
        self.generator = np.random.default_rng(0)
        self.memory = ReplayMemory(SPEC, num, history=config.memory.history, n_step=config.agent.n_step)
        self.seen = [
            Observation(
                self.generator.integers(256, size=SPEC.video, dtype=np.uint8),
                self.generator.random(SPEC.audio).astype(np.float16),
                np.ones(2, np.bool_),
            )
            for _ in range(NUM_SEEN)
        ]
        self.step(num)

    def step(self, num: int) -> None:
        """Take ``num`` steps."""
        for _ in range(num):
            if not self.memory.is_open():
                self.memory.begin(self.look())
            action, reward = int(self.generator.integers(NUM_ACTIONS)), float(self.generator.random() < 0.1)
            ends = bool(self.generator.random() < 1.0 / EPISODE)
            self.memory.add(Transition(self.look(), action, reward, ends, False, self.look()))

    def look(self) -> Observation:
        """Return one of the observations."""
        return self.seen[int(self.generator.integers(NUM_SEEN))]


class Contender:
    """An agent that learns from a world by one curriculum."""

    def __init__(self, config: TrainAgentConfig, options: dict[str, Any], num_filled: int) -> None:
        self.config, self.world = config, World(config, num_filled)
        self.agent = build_agent(config, SPEC, (NUM_ACTIONS,), torch.device(config.device))
        self.optimizer = torch.optim.Adam(self.agent.network.parameters(), lr=1e-4, fused=True)
        curriculum = ReplayCurriculumConfig(**options)
        generator = np.random.default_rng(1)
        self.curriculum = ReplayCurriculum(
            curriculum, self.agent, self.world.memory, generator, num_steps=100, huber=config.agent.huber
        )
        if self.curriculum.losses is not None:
            places = self.world.memory.sampleable.places()
            self.curriculum.losses.see(places, generator.random(places.size).astype(np.float32))
            self.curriculum.losses.forget_new()
        self.progress = Progress()
        self.progress.step = 50 if curriculum.has_pace else 100  # of 100: in the middle of the pace

    def updates(self, num: int) -> float:
        """Take ``num`` updates and return how many that are a second, beside the environment's steps."""
        loop, seconds, done = self.config.loop, 0.0, 0
        while done < num:
            self.world.step(loop.collect_steps)
            self.progress.replays_due = loop.replays
            started = time.perf_counter()
            done += sum(1 for _ in self.learning())
            if self.agent.device.type == "cuda":
                torch.cuda.synchronize()
            seconds += time.perf_counter() - started
        return done / seconds

    def learning(self) -> Any:
        """Return the updates that are due."""
        return learn(
            self.agent,
            self.world.memory,
            self.optimizer,
            self.progress,
            self.config.loop,
            curriculum=self.curriculum,
            max_grad_norm=self.config.agent.max_grad_norm,
        )


def contenders_of(
    config: TrainAgentConfig, shares: list[float], rescored: list[float], num_filled: int
) -> dict[str, Contender]:
    """Return uniform, prioritized, and the two with a pace held at each share and share scored again."""
    options: dict[str, dict[str, Any]] = {
        "uniform": {"name": "uniform"},
        "prioritized": {"name": "prioritized"},
    }
    for name in ("self-paced", "spl-to-per"):
        for share in shares:
            for part in rescored:
                held = {"name": name, "start": share, "end": share, "warmup": 0.0, "over": 1.0}
                options[f"{name}, share {share:g}, rescored {part:g}"] = held | {"rescored": part}
    return {name: Contender(config, chosen, num_filled) for name, chosen in options.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--updates", type=int, default=16, help="in each stretch")
    parser.add_argument("--filled", type=int, default=4_000, help="observations in the memory")
    parser.add_argument("--warm", type=int, default=4, help="updates before the first stretch")
    parser.add_argument("--shares", type=float, nargs="*", default=[0.5, 0.75])
    parser.add_argument("--rescored", type=float, nargs="*", default=[0.125, 1.0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--options", nargs=argparse.REMAINDER, default=[], help="of spl train agent")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.set_flush_denormal(True)
    config = parse(TrainAgentConfig, ["--device", "cpu", *args.options], prog="bench_curriculum")
    contenders = contenders_of(config, args.shares, args.rescored, args.filled)
    for contender in contenders.values():
        contender.updates(args.warm)
    measures = {name: partial(one.updates, args.updates) for name, one in contenders.items()}
    found, rows = take_turns(measures, args.repeats), []
    for name, rates in found.items():
        low, middle, high = np.quantile(ratios(rates, found["uniform"]), [0.25, 0.5, 0.75])
        rows.append([name, f"{np.median(rates):.1f}", f"{middle:.2f}", f"{low:.2f} to {high:.2f}"])
    title = (
        f"mini-buffers of {config.loop.mini_buffer}, batches of {config.loop.batch_size}, "
        f"{args.filled:,} observations, {args.threads} thread, medians of {args.repeats}"
    )
    print_table(title, ["curriculum", "updates/s", "of uniform", "middle half of the ratios"], rows)


if __name__ == "__main__":
    main()
