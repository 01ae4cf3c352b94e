"""A whole training run of ours against Stable-Baselines3's DQN: steps and updates a second, CPU time, memory.

The same work for both, in one run: ALE/Breakout-v5 with sound, four frames a step, 84 x 84 grey by area and
512 bytes of sound a step, the last four of both; Nature CNN -> 512, sound 2048-256-128, joint 512, 2.57 M
parameters; Adam 1e-4, Huber, gradient norm 10; one update of 32 every four steps (of 256 every 32 with eight
environments), target copied every 1,000 steps, one action in ten random. The baseline's environment comes
from our adapter too, so that only the agents differ. Each stretch is a process of its own, the contenders
take turns, medians are printed. The first stretch of each fills the memory before it is timed. "others" is
the share of the machine that other processes took meanwhile: figures count where it is small. The contender
sb3 needs the extra bench. The contenders fast and fast-compiled do not do the same work but what the preset
fast says: smaller networks, log-mel, one environment.
"""

import argparse
import functools
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from timing import (
    machine_cpu_s,
    memory_bytes,
    own_cpu_s,
    own_processes,
    run_only,
    share_of_others,
    take_turns,
)

EVERY = 250  # steps between two looks at the clocks
CAPACITY, FULL, FEW = (
    20_000,
    19_000,
    1_000,
)  # transitions: of the memory, before the first stretch, the others
ENV = ["--env.id", "ALE/Breakout-v5", "--env.audio_features", "waveform"]
CONTENDERS = ["sb3", "float32", "bfloat16", "compiled", "floor", "fast", "fast-compiled"]
PRESET = ("fast", "fast-compiled")  # that do what it says
SIZES = {"video_stream": "nature", "attention": "none", "audio_stream": "mlp", "video_features": 512}
SIZES |= {"audio_features": 128, "features": 512}
Mark = tuple[int, int, float, float, float]  # step, updates; seconds: wall, CPU of ours, CPU of all


def mark(marks: list[Mark], step: int, num_updates: int) -> None:
    """Note the clocks."""
    marks.append((step, num_updates, time.perf_counter(), own_cpu_s(), machine_cpu_s()))


def run_ours(args: argparse.Namespace, fill: int, num_steps: int) -> list[Mark]:
    """Train with ``train_agent`` and return the marks that its rows leave."""
    from spl.cli.main import calm_threads

    calm_threads()
    from rich.console import Console

    from spl.agents.config import TrainAgentConfig
    from spl.agents.train import train_agent
    from spl.config.parse import parse
    from spl.runs.logger import Report

    marks: list[Mark] = []
    is_compiled = args.only.endswith("compiled")

    plain = Report.row

    def row(report: Report, step: int, values: Any) -> None:
        plain(report, step, values)
        if "train/n_updates" in values:
            mark(marks, step, int(values["train/n_updates"]))

    Report.row = row  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory() as folder, open(os.devnull, "w") as nowhere:
        same = {**{f"encoder.{key}": value for key, value in SIZES.items()}, **loop_of(args.num_envs)}
        same |= {
            "agent.precision": "bfloat16" if args.only == "bfloat16" else "float32",
            "agent.compile": str(is_compiled).lower(),
            "agent.learning_rate": 1e-4,
            "agent.double": "false",
            "agent.thirds": "none",  # as the baseline
            "agent.dueling": "false",
            "agent.gamma": 0.99,
        }
        words = {"agent.compile": same["agent.compile"]} if args.only in PRESET else same
        words |= {
            "agent.epsilon_end": 0.1,
            "agent.epsilon_warmup_steps": fill,
            "agent.epsilon_decay_steps": 1,
            "memory.capacity": CAPACITY,
            "memory.min_size": fill,
            "num_steps": num_steps,
            "report_every_steps": EVERY,
            "checkpoint_every_steps": 10 * num_steps,
            "save_memory": "false",
            "num_threads": args.threads,
            "device": args.device,
            "runs": folder,
        }
        options = [word for name, value in words.items() for word in (f"--{name}", str(value))]
        begin = ["--config", "fast", *ENV[:2]] if args.only in PRESET else ENV
        config = parse(TrainAgentConfig, [*begin, *options], prog="bench_agent")
        train_agent(config, command=sys.argv, console=Console(file=nowhere))
    return marks


def loop_of(num_envs: int) -> dict[str, Any]:
    """Return our options for one update of 32 every four steps, or of 256 every four steps of eight."""
    batch = 32 * num_envs
    words: dict[str, Any] = {"loop.batch_size": batch, "loop.mini_buffer": batch, "num_envs": num_envs}
    return words | {"loop.collect_steps": 4 * num_envs, "agent.target_every_updates": 250 // num_envs}


def run_sb3(args: argparse.Namespace, fill: int, num_steps: int) -> list[Mark]:
    """Train Stable-Baselines3's DQN and return the marks of its callback."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # our adapter's; its spinning would slow the baseline
    import torch

    from contenders.agent import Progress, Stacked, train_peer
    from spl.agents.config import TrainAgentConfig
    from spl.config.parse import parse

    torch.set_num_threads(args.threads)
    marks: list[Mark] = []
    env = parse(TrainAgentConfig, ENV, prog="bench_agent").env
    train_peer(
        functools.partial(Stacked, env),
        num_steps=num_steps,
        num_envs=args.num_envs,
        in_processes=args.peer_envs == "subproc",
        callback=Progress(EVERY, functools.partial(mark, marks)),
        learning_starts=fill,
        buffer_size=CAPACITY,
        batch_size=32 * args.num_envs,
        target_update_interval=1_000,
        exploration_initial_eps=0.1,
        exploration_final_eps=0.1,
        device=args.device,
        seed=0,
    )
    return marks


def run_floor(args: argparse.Namespace) -> dict[str, float]:
    """Return the rate of a compiled update on a ready batch: what no loop around it can beat."""
    import torch

    from spl.agents.config import TrainAgentConfig, build_agent
    from spl.config.parse import parse
    from spl.envs.registry import make_env
    from spl.records import Batch
    from spl.runs.directory import pick_device
    from spl.training.step import descend

    torch.set_num_threads(args.threads)
    words = {f"encoder.{key}": value for key, value in SIZES.items()}
    words |= {"agent.compile": "true", "agent.double": "false", "agent.dueling": "false"}
    words |= {"agent.thirds": "none"}
    options = [word for name, value in words.items() for word in (f"--{name}", str(value))]
    config = parse(TrainAgentConfig, [*ENV, *options], prog="bench_agent")
    device, size = pick_device(args.device), 32 * args.num_envs
    agent = build_agent(config, make_env(config.env).spec_of_streams, (4,), device)
    parameters = list(agent.network.parameters())
    optimizer = torch.optim.Adam(parameters, lr=1e-4, fused=True)
    video, audio = (
        torch.randint(256, (size, 4, 1, *shape), dtype=torch.uint8) for shape in ((84, 84), (1, 512))
    )
    modalities = video, audio, torch.ones(size, 2, dtype=torch.bool)
    numbers = torch.zeros(size, dtype=torch.int64), torch.randn(size), torch.full((size,), 0.99)
    no_state = torch.zeros(size, 0)
    batch = Batch(*modalities, *numbers, *modalities, no_state, no_state).to(device)
    weights = torch.ones(size, device=device)

    def updates(count: int) -> None:
        for _ in range(count):
            descend(agent.losses(batch), weights, optimizer, parameters, max_grad_norm=10.0)
            agent.sync()
        if device.type == "cuda":
            torch.cuda.synchronize()

    updates(20)
    started, count = time.perf_counter(), args.num_steps // (4 * args.num_envs)
    updates(count)
    return {"updates_per_second": count / (time.perf_counter() - started)}


def run_one(args: argparse.Namespace) -> dict[str, float]:
    """Return the figures of one stretch: this process's whole work."""
    if args.only == "floor":
        return run_floor(args)
    first = args.fill + EVERY  # the first updates allocate and choose kernels
    num_steps = -(-(first + args.num_steps) // EVERY) * EVERY + EVERY
    busy = None
    if args.device.startswith("cuda"):
        command = [
            "nvidia-smi",
            "--query-gpu=utilization.gpu",
            "--format=csv,noheader,nounits",
            "-lms",
            "200",
        ]
        busy = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    run = run_sb3 if args.only == "sb3" else run_ours
    marks = [one for one in run(args, args.fill, num_steps) if one[0] >= first]
    steps, updates, wall, cpu, all_cpu = (end - start for start, end in zip(marks[0], marks[-1], strict=True))
    figures: dict[str, float] = {
        "steps_per_second": steps / wall,
        "updates_per_second": updates / wall,
        "cpu_ms_per_step": 1e3 * cpu / steps,
        "peak_gb": sum(memory_bytes("VmHWM", process) for process in own_processes()) / 1e9,
        "others_percent": 100 * share_of_others(wall, cpu, all_cpu),
    }
    if busy is not None:
        busy.terminate()
        samples = [float(line) for line in busy.communicate()[0].split()]
        kept = samples[-max(1, int(wall * 5)) :]
        figures["gpu_busy_percent"] = sum(kept) / len(kept)
    if args.device.startswith("cuda") and args.only != "sb3":
        import torch

        figures["gpu_peak_gb"] = torch.cuda.max_memory_allocated() / 1e9
    return figures


def stretches_of(name: str, fill: int) -> Callable[[], dict[str, float]]:
    """Return what measures a contender's next stretch; only the first fills the memory as far as ``fill``."""
    stretches = enumerate(itertools.chain([fill], itertools.repeat(FEW)), start=1)

    def measure() -> dict[str, float]:
        number, filled = next(stretches)
        figures: dict[str, float] = run_only([*sys.argv, "--only", name, "--fill", str(filled)])
        print(f"{number} {name}: {figures}", file=sys.stderr)
        return figures

    return measure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--contenders",
        nargs="+",
        choices=CONTENDERS,
        help="default: the first three; on a GPU five (floor: compiled updates on a ready batch)",
    )
    parser.add_argument("--num_envs", type=int, default=1, help="8: one update of 256 every 32 steps")
    parser.add_argument("--peer_envs", choices=["dummy", "subproc"], default="dummy")
    parser.add_argument("--num_steps", type=int, default=1_000, help="timed in each stretch")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--json", type=Path, help="also write every stretch there")
    parser.add_argument("--only", help=argparse.SUPPRESS)  # what the processes are started with
    parser.add_argument(
        "--fill", type=int, default=FULL, help="random steps before the first stretch is timed"
    )
    args = parser.parse_args()
    if args.only is not None:
        print(json.dumps(run_one(args)))
        return
    contenders = args.contenders or CONTENDERS[: 5 if args.device.startswith("cuda") else 3]
    found = take_turns({name: stretches_of(name, args.fill) for name in contenders}, args.repeats)
    if args.json is not None:
        args.json.write_text(
            json.dumps({"options": vars(args) | {"json": None}, "found": found}, indent=2) + "\n"
        )
    print_found(args, found)


def print_found(args: argparse.Namespace, found: dict[str, list[dict[str, float]]]) -> None:
    """Print medians (peak memory: the largest) and the ratios of steps a second to the first contender's."""
    import numpy as np

    from spl.runs.logger import print_table

    def middle(name: str, key: str) -> float:
        values = [row[key] for row in found[name] if key in row]
        return float((np.max if "peak" in key else np.median)(values)) if values else float("nan")

    keys = ["steps_per_second", "updates_per_second", "cpu_ms_per_step", "peak_gb", "others_percent"]
    keys += ["gpu_busy_percent", "gpu_peak_gb"] if args.device.startswith("cuda") else []
    first, rows = next(iter(found)), []
    for name in found:
        ratio = middle(name, "steps_per_second") / middle(first, "steps_per_second")
        rows.append([name, *(f"{middle(name, key):.3g}" for key in keys), f"{ratio:.2f}"])
    title = f"{args.num_envs} x Breakout, {args.threads} threads, {args.device}, medians of {args.repeats}"
    print_table(title, ["", *(key.replace("_", " ") for key in keys), "ratio"], rows)


if __name__ == "__main__":
    main()
