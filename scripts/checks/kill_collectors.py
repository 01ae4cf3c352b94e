"""Kills collectors, takes machines away and kills the learner; looks whether a run ends as it should.

Three checks, each of runs with an environment that sleeps (``bench/sleeping.py``):

collectors: SIGKILL to a random collector, again and again; steps and updates must be counted exactly, and of
    a chunk that was cut nothing may lie in the memory.
machines: a cluster of several machines on this one (``ray.cluster_utils``), of which one after the other goes
    and another one comes; likewise.
learner: with ``--ordered true`` the learner is killed at random moments and resumed; weights, memory and rows
    must be those of the run left alone.

    python scripts/checks/kill_collectors.py --kills 20 --machines 3 --learner 5
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from kill_and_resume import digests, run_in

from spl.agents.replay.memory import ReplayMemory
from spl.runs import checkpoint
from spl.runs.logger import print_table

BENCH = Path(__file__).parents[1] / "bench"
CHUNK = 8


def options(num_steps: int, sleep_s: float, *others: str) -> list[str]:
    """Return the words of a small run with collectors."""
    sizes = (
        "--env.video_size 36,36 --encoder.video_features 16 --encoder.audio_features 16 --encoder.features 16"
    )
    loop = "--loop.mini_buffer 8 --loop.batch_size 8 --memory.min_size 64 --checkpoint_every_steps 200"
    words = [
        "--env",
        "sleeping:Sleeping",
        "--env.kwargs.sleep_s",
        str(sleep_s),
        *sizes.split(),
        *loop.split(),
    ]
    fixed = ["--chunk_steps", str(CHUNK), "--num_threads", "1", "--device", "cpu", "--env_workers", "false"]
    capacity = str(2 * num_steps * 4)
    return [*words, *fixed, "--num_steps", str(num_steps), "--memory.capacity", capacity, *others]


def start(words: list[str], log: Path) -> "subprocess.Popen[bytes]":
    """Start a run, which tells of itself in a file."""
    environment = {**os.environ, "PYTHONPATH": str(BENCH), "RAY_DEDUP_LOGS": "0"}
    command = [sys.executable, "-m", "spl", "train", "agent", *words]
    return subprocess.Popen(
        command, stdout=log.open("ab"), stderr=subprocess.STDOUT, env=environment, start_new_session=True
    )


def processes() -> Iterator[tuple[int, int, str]]:
    """Yield number, parent and name of every process."""
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((path / "stat").read_text().rsplit(")", 1)[1].split()[1])
            yield int(path.name), parent, (path / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except (OSError, IndexError):
            continue


def collectors_of(learner: int) -> list[int]:
    """Return the processes of the collectors that a learner's own Ray runs."""
    found = {number: (parent, name) for number, parent, name in processes()}

    def is_below(number: int) -> bool:
        while number in found:
            if number == learner:
                return True
            number = found[number][0]
        return False

    return [
        number for number, (_, name) in found.items() if name.startswith("ray::Coll") and is_below(number)
    ]


def step_of(log: Path) -> int:
    """Return the newest step that a run has told."""
    lines = log.read_text().splitlines() if log.exists() else []
    steps = [line.split()[1] for line in lines if line.startswith("step ")]
    return int(steps[-1].replace(",", "")) if steps else 0


def counts(run: Path, num_steps: int, num_collectors: int) -> dict[str, Any]:
    """Return what a finished run counted, and what is wrong with it."""
    memory, state = ReplayMemory.load(run / "memory"), checkpoint.load(run / "checkpoints")
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    is_written = np.arange(memory.slots)[:, None] < np.array(memory.written)
    taken = ((memory.fields.action >= 0) & is_written).sum(axis=0)
    restarts = sum("collector" in row for row in rows)
    begun = int(((memory.fields.age == 0) & is_written).sum())
    episodes, updates = state["progress"]["episode"], state["agent"]["num_updates"]
    expected = num_steps // 2 - 64 // 2 + 1  # an update every second step from memory.min_size on
    wrong = []
    if int(taken.sum()) != num_steps or state["progress"]["step"] != num_steps:
        wrong.append(f"{taken.sum()} steps in the memory")
    if updates != expected:
        wrong.append(f"{updates} updates, expected {expected}")
    if (taken % CHUNK != 0).sum() > 1:
        wrong.append(f"chunks were cut: {taken.tolist()}")
    if not 0 <= begun - episodes - num_collectors <= restarts:
        wrong.append(f"{begun} episodes begun and {episodes} ended")
    return {"steps": int(taken.sum()), "updates": updates, "restarts": restarts, "wrong": wrong}


def kill_collectors(args: argparse.Namespace, folder: Path) -> list[str]:
    """Kill random collectors of a run; return a row of the table."""
    log, words = (
        folder / "collectors.log",
        ["--collectors", str(args.collectors), "--runs", str(folder / "c")],
    )
    learner = start([*options(args.num_steps, args.sleep_s), *words], log)
    num_killed = 0
    while learner.poll() is None:
        found = collectors_of(learner.pid)
        if step_of(log) and found and num_killed < args.kills:
            os.kill(random.choice(found), signal.SIGKILL)
            num_killed += 1
        time.sleep(random.uniform(0.5, 1.5) * args.every_s)
    return judged("collectors", f"{num_killed} killed", learner.returncode, folder / "c", log, args)


def take_machines(args: argparse.Namespace, folder: Path) -> list[str]:
    """Take machines of a cluster away while a run goes on, each for a new one; return a row of the table."""
    from ray.cluster_utils import Cluster

    os.environ["PYTHONPATH"] = str(BENCH)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    machines = [cluster.add_node(num_cpus=1) for _ in range(args.collectors)]
    log = folder / "machines.log"
    words = ["--collectors", str(args.collectors), "--ray", cluster.address, "--runs", str(folder / "m")]
    learner = start([*options(args.num_steps, args.sleep_s), *words], log)
    num_gone = 0
    while learner.poll() is None:
        time.sleep(args.every_s)
        if step_of(log) and num_gone < args.machines:
            cluster.remove_node(machines.pop(0), allow_graceful=False)
            num_gone += 1
            time.sleep(args.every_s)
            machines.append(cluster.add_node(num_cpus=1))
    cluster.shutdown()
    return judged("machines", f"{num_gone} lost", learner.returncode, folder / "m", log, args)


def judged(
    check: str, done: str, code: int | None, runs: Path, log: Path, args: argparse.Namespace
) -> list[str]:
    """Return a row of the table about a run that came to its end."""
    run = run_in(runs)
    if code != 0 or run is None:
        return [check, done, "", "", "", f"exit code {code}: {log.read_text()[-500:]}"]
    found = counts(run, args.num_steps, args.collectors)
    numbers = [str(found[name]) for name in ("steps", "updates", "restarts")]
    return [check, done, *numbers, "; ".join(found["wrong"]) or "nothing"]


def kill_learner(args: argparse.Namespace, folder: Path) -> list[str]:
    """Kill the learner of an ordered run; return a row of the table, with what is unequal."""
    words = [
        *options(args.num_steps, args.sleep_s, "--ordered", "true"),
        "--collectors",
        str(args.collectors),
    ]
    began = time.monotonic()
    alone = start([*words, "--runs", str(folder / "alone")], folder / "alone.log")
    alone.wait()
    seconds = time.monotonic() - began
    log, runs = folder / "learner.log", folder / "l"
    again, num_killed = [*words, "--runs", str(runs)], 0
    while True:
        learner = start(again, log)
        kill_at = time.monotonic() + random.uniform(0.3, 0.9) * seconds
        while learner.poll() is None and (num_killed == args.learner or time.monotonic() < kill_at):
            time.sleep(0.1)
        if learner.poll() is None:
            os.kill(learner.pid, signal.SIGKILL)  # it alone: its Ray has to notice
            learner.wait()
            num_killed += 1
        elif learner.returncode != 0 or num_killed == args.learner:
            break
        else:  # it was through before its time: from the beginning of what is saved, once more
            kill_at = 0.0
            num_killed = args.learner
        if (run := run_in(runs)) is not None and checkpoint.latest(run / "checkpoints") is not None:
            again = ["--resume", str(run)]
    found = [run_in(folder / name) for name in ("alone", "l")]
    if learner.returncode != 0 or None in found:
        return ["learner", f"{num_killed} killed", "", "", "", log.read_text()[-500:]]
    first, second = (digests(run, "agent") for run in found if run is not None)
    unequal = [name for name, value in first.items() if second[name] != value]
    return ["learner", f"{num_killed} killed", str(args.num_steps), "", "", ", ".join(unequal) or "nothing"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--kills", type=int, default=20, help="of collectors; 0: not checked")
    parser.add_argument("--machines", type=int, default=3, help="that go; 0: not checked")
    parser.add_argument("--learner", type=int, default=5, help="kills of the learner; 0: not checked")
    parser.add_argument("--collectors", type=int, default=2)
    parser.add_argument("--num_steps", type=int, default=4_000, help="of each run; a multiple of 2")
    parser.add_argument("--sleep_s", type=float, default=0.02, help="of a step of the environment")
    parser.add_argument("--every_s", type=float, default=4.0, help="between two kills, on average")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    args = parser.parse_args()
    random.seed(args.seed)
    rows = []
    with tempfile.TemporaryDirectory() as name:
        checks = {"kills": kill_collectors, "machines": take_machines, "learner": kill_learner}
        for option, check in checks.items():
            if getattr(args, option):
                rows.append(check(args, Path(name)))
                print(*rows[-1], sep="  ", file=sys.stderr)
    print_table("Killed", ["check", "done", "steps", "updates", "restarts", "wrong or unequal"], rows)
    sys.exit(1 if any(row[-1] != "nothing" for row in rows) else 0)


if __name__ == "__main__":
    main()
