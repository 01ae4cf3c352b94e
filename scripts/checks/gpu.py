"""Checks a GPU in at most 8 minutes: the tests, training runs against their floor, 20,000 steps of Pong.

Each part is a process of its own with a time limit; where one fails, the table says so and the others run.
Writes ``gpu.json`` and ``gpu.md``. `scripts/check_gpu.sh` starts it with the right Python.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
LIMITS_S = {"tests": 130.0, "bench": 210.0, "pong": 120.0}  # 460 s in all, and the start
COLUMNS = ("steps_per_second", "updates_per_second", "gpu_busy_percent", "gpu_peak_gb", "peak_gb")


def describe_gpu(device: str) -> dict[str, Any]:
    """Return the names and versions of what is checked."""
    import torch

    from spl.runs.machine import describe_system

    told = describe_system()
    if device.startswith("cuda"):
        if not torch.cuda.is_available():
            raise SystemExit(
                "check_gpu: torch finds no GPU with CUDA; look at nvidia-smi and torch.version.cuda"
            )
        gpu = torch.cuda.get_device_properties(0)
        told |= {"cuda": torch.version.cuda, "gpu_memory_gb": gpu.total_memory / 1e9}
    return told


def run_part(name: str, words: list[str], log: Path) -> dict[str, Any]:
    """Run one part with its time limit; return its exit code (None: too slow), seconds, and last lines."""
    started = time.perf_counter()
    print(f"{name} (at most {LIMITS_S[name]:.0f} s) ...", flush=True)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    try:
        done = subprocess.run(
            [sys.executable, *words],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=LIMITS_S[name],
        )
        code, output = done.returncode, done.stdout + done.stderr
    except subprocess.TimeoutExpired as error:
        code, output = (
            None,
            "".join(
                part.decode(errors="replace") if isinstance(part, bytes) else part or ""
                for part in (error.stdout, error.stderr)
            ),
        )
    log.write_text(output)
    seconds = time.perf_counter() - started
    print(f"  {'ended' if code == 0 else 'FAILED'} after {seconds:.0f} s; output: {log}", flush=True)
    return {"exit_code": code, "seconds": seconds, "last_lines": output.splitlines()[-3:]}


def run_tests(folder: Path) -> dict[str, Any]:
    """Run the tests that touch the GPU."""
    files = ["tests/agents/test_gpu.py", "tests/agents/replay/test_device_copy.py"]
    words = ["-m", "pytest", "-q", "-m", "slow or not slow", *files]
    return run_part("tests", words, folder / "tests.log")


def run_bench(folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Time whole training runs and a compiled update on a ready batch, their floor."""
    told = folder / "bench.json"
    steps, fill, repeats = ("250", "1000", "1") if args.quick else ("2000", "4000", "2")
    words = ["scripts/bench/agent.py", "--device", args.device, "--json", str(told), "--num_steps", steps]
    words += [
        "--fill",
        fill,
        "--repeats",
        repeats,
        "--contenders",
        "float32",
        "bfloat16",
        "compiled",
        "floor",
    ]
    done = run_part("bench", words, folder / "bench.log")
    return done | {"found": json.loads(told.read_text())["found"] if told.exists() else {}}


def run_pong(folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Train on Pong with sound, in a process of its own."""
    told = folder / "pong.json"
    steps = 600 if args.quick else 20_000
    words = ["scripts/checks/gpu.py", str(told), "--device", args.device, "--pong", str(steps)]
    done = run_part("pong", words, folder / "pong.log")
    return done | (json.loads(told.read_text()) if told.exists() else {})


def train_pong(told: Path, device: str, num_steps: int) -> None:
    """Train ``num_steps`` on Pong and write the rate, the return and the memory used to ``reported``."""
    import torch

    from spl.cli import main as cli

    cli.calm_threads()
    with tempfile.TemporaryDirectory() as runs:
        words = ["train", "agent", "--config", str(ROOT / "configs/agent/atari.yaml"), "--device", device]
        words += ["--num_steps", str(num_steps), "--runs", runs, "--memory.capacity", "20000"]
        words += ["--memory.min_size", str(min(2_000, num_steps // 2)), "--report_every_steps", "200"]
        started = time.perf_counter()
        if code := cli.main(words):
            raise SystemExit(code)
        seconds = time.perf_counter() - started
        (metrics,) = Path(runs).glob("agent/*/metrics.jsonl")
        rows = [json.loads(line) for line in metrics.read_text().splitlines()]
    found = {"num_steps": num_steps, "wall_s": seconds, "rows": rows[-3:]}
    if device.startswith("cuda"):
        found["gpu_peak_gb"] = torch.cuda.max_memory_allocated() / 1e9
    told.write_text(json.dumps(found))


def table(checked: dict[str, Any]) -> str:
    """Return what was found as Markdown."""
    machine, bench, pong, tests = (checked[name] for name in ("machine", "bench", "pong", "tests"))
    name = machine.get("gpu", f"no GPU ({machine['processor']})")
    titles = " | ".join(key.replace("_", " ") for key in COLUMNS)
    lines = [
        f"**{name}**, {machine['cores']} cores, torch {machine['packages']['torch']}, "
        f"CUDA {machine.get('cuda')}, {machine['time'][:10]}, commit {str(machine['commit'])[:12]}",
        "",
        f"Tests: {tests['last_lines'][-1] if tests['last_lines'] else 'no output'}",
        "",
        f"| training run | {titles} | updates, share of the floor |",
        f"|---|{'---|' * (len(COLUMNS) + 1)}",
    ]
    floor = median(bench["found"].get("floor", []), "updates_per_second")
    for contender, rows in bench["found"].items():
        values = [f"{median(rows, key):.3g}" for key in COLUMNS]
        lines.append(
            f"| {contender} | {' | '.join(values)} | {median(rows, 'updates_per_second') / floor:.2f} |"
        )
    if bench["exit_code"] != 0:
        lines.append(f"\nThe benchmark did not end: {' '.join(bench['last_lines'][-1:])}")
    if "wall_s" in pong:
        rate = pong["num_steps"] / pong["wall_s"]
        lines.append(
            f"\nPong with sound, {pong['num_steps']:,} steps: {pong['wall_s']:.0f} s, {rate:.0f} steps/s "
            f"with start and saving; GPU memory at most {pong.get('gpu_peak_gb', math.nan):.2f} GB."
        )
    else:
        lines.append(f"\nPong did not end: {' '.join(pong['last_lines'][-1:])}")
    return "\n".join(lines).replace("nan", "-") + "\n"


def median(rows: list[dict[str, float]], key: str) -> float:
    """Return the median of a column; NaN where no row has it."""
    values = [row[key] for row in rows if key in row]
    return statistics.median(values) if values else math.nan


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=Path("gpu_check"), help="where the files go")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--quick", action="store_true", help="a few steps each, to try the script itself")
    parser.add_argument("--pong", type=int, help=argparse.SUPPRESS)  # what its process is started with
    args = parser.parse_args()
    if args.pong is not None:
        train_pong(args.folder, args.device, args.pong)
        return
    folder = args.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    checked = {"machine": describe_gpu(args.device), "tests": run_tests(folder)}
    checked |= {"bench": run_bench(folder, args), "pong": run_pong(folder, args)}
    (folder / "gpu.json").write_text(json.dumps(checked, indent=2) + "\n")
    (folder / "gpu.md").write_text(table(checked))
    print(table(checked))
    sys.exit(any(checked[name]["exit_code"] != 0 for name in LIMITS_S))


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
