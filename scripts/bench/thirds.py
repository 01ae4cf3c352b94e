"""An agent's update that learns in thirds beside the plain one: milliseconds and their ratio, in one run.

Memories alike for both, drawn from, stacked, learned and stepped as a run does it: random grey frames and
log-mels of 64 x 8, in episodes of 100 steps. With one thread the process's own clock is read, which stands
while others run.
"""

import argparse
import statistics
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from timing import clock_of, ratios, seconds, take_turns


def maker_of_updates(size: int, options: list[str], *, thirds: str, n_step: int) -> Callable[[], object]:
    """Return a function that makes one update of batch 32."""
    import torch

    from spl.agents.build import groups_of
    from spl.agents.collectors.progress import Progress
    from spl.agents.config import TrainAgentConfig, build_agent
    from spl.agents.curriculum import ReplayCurriculum
    from spl.agents.loop import learn
    from spl.agents.replay.memory import ReplayMemory
    from spl.config.parse import parse
    from spl.records import Observation, StreamSpec, Transition

    spec = StreamSpec((1, size, size), (1, 64, 8))
    words = [*options, "--agent.thirds", thirds, "--agent.n_step", str(n_step)]
    config = parse(TrainAgentConfig, words, prog="bench_thirds")
    agent = build_agent(config, spec, (4,), torch.device("cpu"))
    memory = ReplayMemory(spec, 3_000, n_step=n_step)
    generator = np.random.default_rng(0)
    for step in range(2_001):
        video = generator.integers(256, size=spec.video, dtype=np.uint8)
        reached = Observation(video, generator.random(spec.audio).astype(np.float16), np.ones(2, np.bool_))
        ends = step % 100 == 0
        if step:
            memory.add(Transition(reached, step % 4, float(ends), ends, False, reached))
        if ends:
            memory.begin(reached)
    optimizer = torch.optim.Adam(groups_of(config, agent), lr=1e-4, eps=1.5e-4, fused=True)
    progress = Progress()
    curriculum = ReplayCurriculum(config.curriculum, agent, memory, generator, num_steps=9, huber=True)
    given: dict[str, Any] = {"curriculum": curriculum, "max_grad_norm": 10.0}
    progress.replays_due = 10**9
    updates: Iterator[Any] = learn(agent, memory, optimizer, progress, config.loop, **given)
    return lambda: next(updates)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", nargs="+", type=int, default=[64, 84], help="rows and columns of a frame")
    parser.add_argument("--n_steps", nargs="+", type=int, default=[1, 3])
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--threads", type=int, default=1)
    args, options = parser.parse_known_args()  # what is left goes to the run, such as --encoder.attention
    import torch

    from spl.runs.logger import print_table

    torch.set_num_threads(args.threads)
    torch.set_flush_denormal(True)
    clock, rows = clock_of("cpu", args.threads), []
    for size in args.sizes:
        for n_step in args.n_steps:
            calls = {
                name: maker_of_updates(size, options, thirds=name, n_step=n_step)
                for name in ("none", "asymmetric")
            }
            for call in calls.values():
                for _ in range(5):
                    call()
            found = take_turns(
                {name: lambda call=call: seconds(call, clock=clock) for name, call in calls.items()},
                args.rounds,
            )
            plain, views = (1e3 * statistics.median(found[name]) for name in calls)
            ratio = statistics.median(ratios(found["asymmetric"], found["none"]))
            rows.append([f"{size} x {size}, n_step {n_step}", f"{plain:.1f}", f"{views:.1f}", f"{ratio:.2f}"])
    print_table("an update, medians", ["", "plain (ms)", "in thirds (ms)", "ratio"], rows)


if __name__ == "__main__":
    main()
