"""Kills a run with SIGKILL at random moments, resumes it each time, and compares it with an undisturbed one.

Everything in the last checkpoint, the rows of ``metrics.jsonl``, an agent's memory and a classifier's result
must all be equal, times aside.

    python scripts/checks/kill_and_resume.py --kills 20 -- --config smoke/agent --num_steps 2000
    python scripts/checks/kill_and_resume.py --of autoencoder --kills 10 -- --data.paths recordings/demo
    python scripts/checks/kill_and_resume.py --of classifier --kills 10 -- --data folder --data.root pictures
"""

import argparse
import contextlib
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from spl.agents.replay.memory import ReplayMemory
from spl.runs import checkpoint
from spl.runs.logger import print_table

COMMANDS = {"agent": "train agent", "autoencoder": "pretrain autoencoder", "classifier": "train classifier"}
WEIGHTS = {"agent": ("agent", "network"), "autoencoder": ("learner",), "classifier": ("classifier",)}  # keys


def train(of: str, *argv: str) -> "subprocess.Popen[bytes]":
    """Start the command that trains ``of`` without anything to see of it."""
    command = [sys.executable, "-m", "spl", *COMMANDS[of].split(), *argv]
    return subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
    )


def finish(process: "subprocess.Popen[bytes]", runs: Path) -> float:
    """Wait for a run that nobody kills; return the seconds from its folder's begin to its end."""
    while run_in(runs) is None and process.poll() is None:
        time.sleep(0.01)
    started = time.monotonic()
    _, told = process.communicate()
    if process.returncode != 0:
        sys.exit(f"a run failed with exit code {process.returncode}:\n{told.decode()}")
    return time.monotonic() - started


def run_in(runs: Path) -> Path | None:
    """Return the run's folder once it can be resumed."""
    return next((path.parent for path in runs.glob("*/*/command.txt")), None)


def is_saving(run: Path) -> bool:
    """Whether a save goes on: what it writes beside the last one is there."""
    return any((run / "checkpoints").glob(".*tmp*"))


def digests(run: Path, of: str) -> dict[str, str]:
    """Return checksums of what a finished run left: weights, checkpoint, memory, result, rows."""
    state = weights = checkpoint.load(run / "checkpoints")
    for key in WEIGHTS[of]:
        weights = weights[key]
    found = {"weights": _digest(weights), "checkpoint": _digest(state)}
    if of == "classifier":
        found["result"] = _digest(json.loads((run / "result.json").read_text()))
    if (run / "memory").is_dir():
        memory = ReplayMemory.load(run / "memory")
        slots, envs = memory.indices()
        arrays = [field[slots, envs] for field in memory.fields]
        found["memory"] = _digest([memory.written, *arrays])
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    timeless = [
        {key: value for key, value in row.items() if key != "seconds" and not key.startswith("time/")}
        for row in rows
    ]
    return {**found, "rows": _digest(timeless)}


def _digest(tree: object) -> str:
    total = hashlib.sha256()

    def add(value: object) -> None:
        if isinstance(value, dict):
            for key in sorted(value, key=str):
                total.update(str(key).encode())
                add(value[key])
        elif isinstance(value, list | tuple):
            for item in value:
                add(item)
        elif hasattr(value, "shape"):
            total.update(np.ascontiguousarray(np.asarray(value)).tobytes())
        else:
            total.update(repr(value).encode())

    add(tree)
    return total.hexdigest()[:16]


def kill_once(
    of: str, argv: list[str], runs: Path, longest_s: float, *, while_saving: bool
) -> tuple[Path, str]:
    """Start a run and kill it after a random time, at the next save if asked; return its folder and when."""
    process = train(of, *argv, "--runs", str(runs))
    while (run := run_in(runs)) is None and process.poll() is None:
        time.sleep(0.01)
    time.sleep(random.uniform(0.0, longest_s))
    while while_saving and run is not None and not is_saving(run) and process.poll() is None:
        time.sleep(0.001)
    time.sleep(random.uniform(0.0, 0.01) if while_saving else 0.0)
    was_saving = run is not None and is_saving(run)
    with contextlib.suppress(ProcessLookupError):  # it has just come to its end
        os.killpg(process.pid, signal.SIGKILL)
    _, told = process.communicate()
    if run is None or process.returncode not in (0, -signal.SIGKILL):
        sys.exit(f"a run failed with exit code {process.returncode}:\n{told.decode()}")
    last = checkpoint.latest(run / "checkpoints")
    when = "before the first save" if last is None else f"after {last.name}"
    return run, "at its end" if process.returncode == 0 else when + (", while saving" if was_saving else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--of", choices=COMMANDS, default="agent", help="what is trained")
    parser.add_argument("--kills", type=int, default=20, help="runs, each killed at a random moment")
    parser.add_argument("--seed", type=int, default=0, help="of the moments; every other lies in a save")
    parser.add_argument("options", nargs="*", help="of the command that trains it, after --")
    args = parser.parse_args()
    random.seed(args.seed)
    argv = [*args.options, "--num_threads", "1"]
    with tempfile.TemporaryDirectory() as folder:
        runs = Path(folder, "alone")
        seconds = finish(train(args.of, *argv, "--runs", str(runs)), runs)
        alone = run_in(runs)
        assert alone is not None
        expected, rows, num_unequal = digests(alone, args.of), [], 0
        for number in range(args.kills):
            runs = Path(folder, str(number))
            run, when = kill_once(args.of, argv, runs, 0.9 * seconds, while_saving=number % 2 == 1)
            finish(train(args.of, "--resume", str(run)), runs)
            found = digests(run, args.of)
            unequal = [name for name, value in expected.items() if found[name] != value]
            num_unequal += bool(unequal)
            rows.append([str(number), when, found["weights"], ", ".join(unequal) or "nothing"])
            print(*rows[-1], sep="  ", file=sys.stderr)
    title = f"Left alone: weights {expected['weights']}"
    print_table(title, ["run", "killed", "weights in the end", "unequal"], rows)
    sys.exit(1 if num_unequal else 0)


if __name__ == "__main__":
    main()
