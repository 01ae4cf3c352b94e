"""Updates a second by number of threads and how long waiting threads spin, alone and beside a busy process.

Each figure is the median over repetitions; every setting is a process of its own, because OpenMP reads its
variables once. The neighbour is a Python loop that never sleeps.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial

import numpy as np

from timing import run_only, take_turns

SETTINGS: dict[str, dict[str, str]] = {
    "default": {},
    "passive": {"OMP_WAIT_POLICY": "passive"},
    "spin 0": {"GOMP_SPINCOUNT": "0"},
    "spin 1,000": {"GOMP_SPINCOUNT": "1000"},
    "spin 10,000": {"GOMP_SPINCOUNT": "10000"},
    "spin 100,000": {"GOMP_SPINCOUNT": "100000"},
}
CONTROLLED = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "OMP_NUM_THREADS")


def maker_of_updates() -> Callable[[], None]:
    """Return a function that makes one update of batch 32 on a ready batch."""
    import torch

    from spl.agents.config import TrainAgentConfig, build_agent
    from spl.config.parse import parse
    from spl.records import Batch, StreamSpec
    from spl.training.step import descend

    options = ["--encoder.video_stream", "nature", "--encoder.attention", "none", "--agent.thirds", "none"]
    config = parse(TrainAgentConfig, options, prog="bench_threads")
    agent = build_agent(config, StreamSpec((1, 84, 84), (1, 64, 8)), (4,), torch.device("cpu"))
    parameters = list(agent.network.parameters())
    optimizer = torch.optim.Adam(parameters, lr=1e-4, fused=True)
    video = torch.randint(256, (32, 5, 1, 84, 84), dtype=torch.uint8)
    audio = torch.rand(32, 5, 1, 64, 8).half()
    present, action = torch.ones(32, 2, dtype=torch.bool), torch.randint(4, (32,))
    stacks = (video[:, :-1], audio[:, :-1], present), (video[:, 1:], audio[:, 1:], present)
    batch = Batch(
        *stacks[0], action, torch.randn(32), torch.full((32,), 0.99), *stacks[1], *[torch.zeros(32, 0)] * 2
    )

    def update() -> None:
        descend(agent.losses(batch), torch.ones(32), optimizer, parameters, max_grad_norm=10.0)
        agent.sync()

    return update


def rate(call: Callable[[], None], seconds: float) -> float:
    """Return how often ``call`` is done in a second."""
    started, done = time.perf_counter(), 0
    while (elapsed := time.perf_counter() - started) < seconds:
        call()
        done += 1
    return done / max(elapsed, 1e-9)


def alone_and_beside(num_threads: int, seconds: float) -> tuple[float, float]:
    """Return the updates a second of this process alone, and beside a loop that never sleeps.

    With 0 threads, their number follows the neighbours, which are given the time that this takes.
    """
    from spl.processes.threads import LOOK_EVERY_S, NUM_AGREEING, Threads

    threads, make = Threads(num_threads or None), maker_of_updates()
    settling = 0.0 if num_threads else (NUM_AGREEING + 1) * LOOK_EVERY_S

    def update() -> None:
        make()
        threads.look()

    rate(update, seconds / 4)
    alone = rate(update, seconds)
    # ends by itself too, should this process be killed
    loop = f"import time; end = time.time() + {2 * seconds + settling + 5}\nwhile time.time() < end: pass"
    busy = subprocess.Popen([sys.executable, "-c", loop])
    try:
        time.sleep(0.2)
        rate(update, settling)
        return alone, rate(update, seconds)
    finally:
        busy.kill()
        busy.wait()


def measure(num_threads: int, setting: dict[str, str], seconds: float) -> tuple[float, float]:
    """Return what a fresh process with these variables measures."""
    env = {name: value for name, value in os.environ.items() if name not in CONTROLLED}
    command = [__file__, "--only", str(num_threads), "--seconds", str(seconds)]
    alone, beside = run_only(command, env | setting)
    return alone, beside


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="of updates in each process")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--threads",
        type=int,
        nargs="*",
        default=[1, os.cpu_count() or 1, 0],
        help="0: following the neighbours",
    )
    parser.add_argument("--settings", nargs="*", choices=list(SETTINGS), default=list(SETTINGS))
    parser.add_argument("--only", type=int, help=argparse.SUPPRESS)  # what the processes are started with
    args = parser.parse_args()
    if args.only is not None:
        print(json.dumps(alone_and_beside(args.only, args.seconds)))
        return
    from spl.runs.logger import print_table

    measures = {
        (number, name): partial(measure, number, SETTINGS[name], args.seconds)
        for number in args.threads
        for name in args.settings
    }
    found = take_turns(measures, args.repeats)
    rows = []
    for (number, name), pairs in found.items():
        alone, beside = np.median(pairs, axis=0)
        rows.append(
            [f"{number or 'following'}, {name}", f"{alone:.1f}", f"{beside:.1f}", f"{beside / alone:.2f}"]
        )
    print_table("Updates a second, batch 32", ["threads, waiting", "alone", "beside one", "ratio"], rows)


if __name__ == "__main__":
    main()
