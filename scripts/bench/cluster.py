"""Collectors on Ray: steps a second that they bring, what a slow one costs, what the learner can take in.

sleeping: whole runs with an environment that sleeps 20 ms a step (``sleeping.py``); a small network learns
    now and then, so that collecting is what is measured. Efficiency: steps a second over those of one
    collector, divided by their number.
slow: four collectors, one of which is ten times slower, beside three that are alike; chunks are taken as they
    come, or in order.
ring: chunks of 84 x 84 pictures and 64 x 8 sounds from collectors that only send, put into the memory.
rllib: RLlib's DQN in the sleeping environment, as many steps an update, and ours beside it; with ``--rllib``,
    an interpreter that has it (``ray[rllib]`` asks for a Gymnasium of its own).
constants: bytes of a network's weights, and the time that Ray takes for them.

    python scripts/bench/cluster.py --collectors 1 2 4 8
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from spl.agents.build import make_envs, new_agent, new_memory
from spl.agents.collectors.chunks import Chunk, Recorder
from spl.agents.collectors.crew import Crew
from spl.agents.collectors.intake import Collectors
from spl.agents.collectors.progress import Progress
from spl.agents.config import TrainAgentConfig
from spl.agents.player import plan_of
from spl.config.parse import parse
from spl.processes.cluster import own_cluster
from spl.records import Observation, StreamSpec, Transition
from spl.runs.logger import print_table

SMALL = """
    --env sleeping:Sleeping --env_workers false --encoder.video_features 16 --encoder.audio_features 16
    --encoder.features 16 --loop.mini_buffer 8 --loop.batch_size 8 --loop.collect_steps 16
    --memory.min_size 32 --memory.capacity 20000 --report_every_steps 50 --save_memory false
    --num_threads 1 --device cpu
    --agent.epsilon_warmup_steps 0 --agent.epsilon_decay_steps 1
"""  # options of the runs
SPEC = StreamSpec((1, 84, 84), (1, 64, 8))


def rate_of(num_collectors: int, words: list[str], duration_s: float) -> float:
    """Return the steps a second of a whole run, without its start and its end."""
    num_steps = int(50 * max(1, num_collectors) * duration_s)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "spl", "train", "agent", *SMALL.split(), *words, "--runs", folder]
        command += ["--num_steps", str(num_steps)]
        command += ["--collectors", str(num_collectors)] if num_collectors else []
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"a run failed:\n{done.stderr}")
        (path,) = Path(folder).glob("agent/*/metrics.jsonl")
        rows = [json.loads(line) for line in path.read_text().splitlines()]
    told = [(row["seconds"], row["step"]) for row in rows if "time/fps" in row]
    (began, first), (ended, last) = told[len(told) // 4], told[-2]
    return (last - first) / (ended - began)


def rllib_of(num_runners: int, python: str, duration_s: float) -> tuple[float, float]:
    """Return the steps a second of RLlib's DQN, and its updates a step."""
    script = Path(__file__).parent / "contenders" / "rllib.py"
    command = [python, str(script), "--runners", str(num_runners), "--duration_s", str(duration_s)]
    environment = {**os.environ, "PYTHONPATH": str(script.parents[1]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"RLlib failed:\n{done.stderr}")
    told = json.loads(done.stdout.splitlines()[-1])
    return told["steps_per_s"], told["updates_per_step"]


class Sender:
    """What only sends the same chunk again and again."""

    def __init__(self, num_steps: int) -> None:
        recorder = Recorder(SPEC, history=4, num_dimensions=1)
        generator = np.random.default_rng(0)
        for step in range(num_steps + 1):
            recorder.step = max(0, step - 1)
            observation = Observation(
                generator.integers(0, 255, SPEC.video, np.uint8),
                generator.random(SPEC.audio).astype(np.float16),
                np.ones(2, np.bool_),
            )
            if step:
                recorder.add(Transition(observation, 0, 0.0, False, False, observation))
            else:
                recorder.begin(observation)
        self.chunk = recorder.hand_over(
            episodes=np.zeros((0, 3)), faults=[], news=[], num_steps=num_steps, place=None
        )

    def up(self) -> None:
        """Be there."""

    def begin(self, life: int, seeding: int, place: Any) -> None:
        """Be ready."""

    def collect(
        self, life: int, weights: Mapping[str, Any], version: Any, step: int, num_steps: int
    ) -> Chunk:
        """Return the chunk."""
        return self.chunk


def ring_rate(num_senders: int, chunk_steps: int, duration_s: float) -> tuple[float, float, float]:
    """Return transitions taken into the memory a second, a second of this thread's own time; bytes of one."""
    sizes = ["--env.video_size", "84,84", "--memory.capacity", "4000", "--num_steps", str(10**9)]
    words = ["--env", "spl/Beacon-v0", *sizes]
    words = [*SMALL.split(), *words, "--collectors", str(num_senders), "--chunk_steps", str(chunk_steps)]
    config = parse(TrainAgentConfig, words, prog="bench", aliases={"env": "env.id"})
    envs = make_envs(config)
    agent = new_agent(config, envs)
    memory = new_memory(config, envs, agent, Path("unused"))
    with own_cluster("bench needs ray", num_cpus=num_senders, store_bytes=2**30) as ray:
        make = ray.remote(num_cpus=1)(Sender)
        crew = Crew(ray, plan_of(config), [make.remote(chunk_steps) for _ in range(num_senders)], [])
        collectors = Collectors(crew, agent, envs, memory, Progress())
        while collectors.progress.step < 6000:  # every slot of the memory is touched
            collectors.step()
        began, spent, first = time.perf_counter(), time.thread_time(), collectors.progress.step
        while (gone := time.perf_counter() - began) < duration_s:
            collectors.step()
        taken, spent = collectors.progress.step - first, time.thread_time() - spent
    chunk = Sender(chunk_steps).chunk
    size = sum(field.nbytes for field in chunk if isinstance(field, np.ndarray)) / chunk.num_transitions
    return taken / gone, taken / spent, size


def constants(duration_s: float) -> dict[str, float]:
    """Return what the weights of the default network weigh, and seconds to put and get them with Ray."""
    config = parse(
        TrainAgentConfig,
        ["--env", "spl/Beacon-v0", "--env.video_size", "84,84"],
        prog="bench",
        aliases={"env": "env.id"},
    )
    torch.set_num_threads(1)
    agent = new_agent(config, make_envs(config))
    weights = {name: one.numpy() for name, one in agent.network.state_dict().items()}
    with own_cluster("bench needs ray", num_cpus=1, store_bytes=2**30) as ray:
        times = []
        until = time.perf_counter() + duration_s
        while time.perf_counter() < until:
            began = time.perf_counter()
            ray.get(ray.put(weights))
            times.append(time.perf_counter() - began)
    size = sum(one.nbytes for one in weights.values())
    return {"bytes of the weights": size, "ms to put and get them": 1e3 * float(np.median(times))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--collectors", type=int, nargs="*", default=[1, 2, 4, 8])
    parser.add_argument("--parts", nargs="*", default=["sleeping", "slow", "ring", "constants"])
    parser.add_argument("--duration_s", type=float, default=20.0, help="of each run, about")
    parser.add_argument("--senders", type=int, default=2, help="collectors that only send")
    parser.add_argument("--rllib", metavar="PYTHON", help="an interpreter that has ray[rllib] and torch")
    parser.add_argument("--options", nargs=argparse.REMAINDER, default=[], help="of the runs")
    args = parser.parse_args()
    if "sleeping" in args.parts:
        rates = {num: rate_of(num, args.options, args.duration_s) for num in [0, *args.collectors]}
        one = rates[1] if 1 in rates else rates[0]
        rows = [
            [
                str(num) if num else "none",
                f"{rate:.1f}",
                f"{rate / one:.2f}",
                f"{rate / one / max(1, num):.2f}",
            ]
            for num, rate in rates.items()
        ]
        print_table("20 ms a step", ["collectors", "steps/s", "of one", "efficiency"], rows)
    if args.rllib:
        rows = []
        for num in [0, *args.collectors]:
            ours = rate_of(num, args.options, args.duration_s)
            theirs, updates = rllib_of(num, args.rllib, args.duration_s)
            rows.append([str(num), f"{ours:.1f}", f"{theirs:.1f}", f"{ours / theirs:.2f}", f"{updates:.4f}"])
        columns = ["collectors", "steps/s", "of RLlib", "ratio", "its updates a step"]
        print_table("Beside RLlib, asked for an update in 16 steps (0.0625)", columns, rows)
    if "slow" in args.parts:
        rows = []
        for title, num, words in (
            ("three alike", 3, []),
            ("and a slow one", 4, ["SLOW"]),
            ("and a slow one, ordered", 4, ["SLOW", "--ordered", "true"]),
        ):
            with tempfile.TemporaryDirectory() as folder:
                slow = ["--env.kwargs.slow_file", str(Path(folder, "slow")), "--chunk_steps", "8"]
                words = [*(slow if "SLOW" in words else ["--chunk_steps", "8"]), *words[1:]]
                words += ["--save_memory", "true"] if "--ordered" in words else []
                rows.append([title, f"{rate_of(num, [*words, *args.options], args.duration_s):.1f}"])
        print_table("One of four is ten times slower", ["collectors", "steps/s"], rows)
    if "ring" in args.parts:
        rate, own, size = ring_rate(args.senders, 100, args.duration_s / 2)
        rows = [
            [str(args.senders), f"{rate:,.0f}", f"{own:,.0f}", f"{size:,.0f}", f"{rate * size / 1e6:,.0f}"]
        ]
        columns = ["senders", "transitions/s", "a second of the learner's thread", "bytes of one", "MB/s"]
        print_table("Chunks into the memory", columns, rows)
    if "constants" in args.parts:
        rows = [[name, f"{value:,.2f}"] for name, value in constants(args.duration_s / 4).items()]
        print_table("Constants", ["", "value"], rows)


if __name__ == "__main__":
    main()
