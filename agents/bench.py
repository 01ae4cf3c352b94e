"""``spl bench``: how fast an agent trains on this machine, where its time goes, how soon it earns enough."""

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from rich.console import Console

from spl.agents.bench_measures import measure_loop, measure_parts, measure_return
from spl.agents.collectors.options import COLLECTORS
from spl.agents.collectors.progress import RECENT_EPISODES
from spl.agents.config import TrainAgentConfig
from spl.config import parse as configuration
from spl.config.errors import UsageError
from spl.config.options import PathName, narrowed
from spl.config.ranges import Finite, Positive
from spl.runs.files import replace_text, writable
from spl.runs.logger import print_table, say
from spl.runs.machine import describe_system

MIB = 2**20


@dataclass(frozen=True, kw_only=True)
class BenchConfig(TrainAgentConfig):
    """A training, as ``spl train agent`` takes it, and for how long it is measured."""

    unlisted: ClassVar[tuple[str, ...]] = ("restarts", "runs", "track", *COLLECTORS, "ray")  # nothing is kept

    duration_s: Positive = 5.0  # duration of each measurement
    to_return: Finite | None = None  # also train until 100 episodes earn this on average; null: do not
    out: PathName | None = None  # JSON file to write: figures, options, machine; null: none

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in self.unlisted:
            if getattr(self, name) != getattr(TrainAgentConfig, name):
                raise ValueError(f"spl bench keeps no run: leave {name} out, got {getattr(self, name)}")

    def training(self, folder: Path, **changes: Any) -> TrainAgentConfig:
        """Return the training's own options, its runs in ``folder``."""
        return narrowed(TrainAgentConfig, self, runs=str(folder), **changes)


def bench_agent(config: BenchConfig, *, console: Console | None = None) -> dict[str, Any]:
    """Measure a training on this machine; nothing of it is kept but the figures.

    Returns:
        ``figures`` of `measure_parts`, `measure_loop` and, with ``to_return``, `measure_return`; ``options``;
        ``system``.

    Raises:
        UsageError: if environment, network or machine do not serve, or ``out`` cannot be written.
        RunError: if the environments fail, or the training ends before the loop could be measured.
    """
    console = Console(stderr=True) if console is None else console
    if config.out is not None:
        _check_out(Path(config.out))
    torch.set_flush_denormal(True)
    with tempfile.TemporaryDirectory(prefix="spl-bench-") as name:
        folder = Path(name)
        figures: dict[str, Any] = measure_parts(config, folder, console)
        say(console, f"measuring the whole loop, {config.duration_s:g} s from its first update on")
        figures |= measure_loop(config, folder)
        if config.to_return is not None:
            say(console, f"training to a return of {config.to_return:g}, {config.num_steps:,} steps at most")
            figures |= measure_return(config, config.to_return, folder, console)
    return {"figures": figures, "options": configuration.to_dict(config), "system": describe_system()}


def save_bench(result: dict[str, Any], out: str) -> None:
    """Write what `bench_agent` returned to the JSON file ``out``."""
    replace_text(Path(out), json.dumps(result, indent=2) + "\n")


def _check_out(path: Path) -> None:
    """Refuse before anything is measured what could not be written afterwards."""
    if not path.parent.is_dir():
        raise UsageError(f"--out {path}: there is no folder {path.parent}")
    if path.exists() and not path.is_file():
        sort = "folder" if path.is_dir() else "device or pipe"
        raise UsageError(f"--out must be a JSON file to write, got the {sort} {path}")
    writable(path.parent)


def print_bench(result: dict[str, Any]) -> None:
    """Print the figures as a table, with the machine and how they were made."""
    figures, options, system = result["figures"], result["options"], result["system"]
    precision, num_envs = options["agent"]["precision"], figures["num_envs"]
    thirds = ", in thirds" * figures["in_thirds"]
    rows = [
        ["environment, random actions", f"{figures['env']:,.0f} steps/s"],
        ["acting", f"{1e3 / figures['acting']:.2f} ms for {num_envs} environment{'s' * (num_envs > 1)}"],
        ["environment, acting and remembering", f"{figures['collecting']:,.0f} steps/s"],
        [
            f"an update of {figures['batch']} transitions{thirds}",
            f"{1e3 / figures['updates']:.1f} ms, {figures['updates']:.1f} updates/s",
        ],
    ]
    if figures["gflop_per_update"] is not None:
        done = figures["gflop_per_update"] * figures["updates"]
        peak = figures["peak_gflops"]
        rows += [
            ["its arithmetic", f"{figures['gflop_per_update']:.2f} GFLOP, {done:.0f} GFLOP/s"],
            [f"share of the peak ({peak:,.0f} GFLOP/s, {precision})", f"{done / peak:.0%}"],
        ]
    size = figures["bytes_per_transition"]
    rows += [
        ["the whole loop", f"{figures['loop_steps']:.0f} steps/s, {figures['loop_updates']:.1f} updates/s"],
        ["memory", f"{size:,.0f} bytes a transition, {size * figures['capacity'] / MIB:,.0f} MiB in all"],
    ]
    if "reached" in figures:
        told = _told(figures["reached"], figures["best"], options["num_steps"])
        rows.append([f"to a return of {options['to_return']:g}", told])
    title = (
        f"spl bench · {options['env']['id']} · {system.get('gpu', system['processor'])} · "
        f"{figures['threads']} of {system['cores']} cores · torch {system['packages']['torch']}"
    )
    print_table(title, ["", ""], rows)


def _told(reached: dict[str, float] | None, best: float | None, num_steps: int) -> str:
    if reached is None:
        mean = f"fewer than {RECENT_EPISODES} episodes" if best is None else f"at best {best:.4g}"
        return f"not reached in {num_steps:,} steps: {mean}"
    steps, seconds, cpu_seconds = reached["steps"], reached["seconds"], reached["cpu_seconds"]
    return f"{steps:,.0f} steps, {seconds:.0f} s, {cpu_seconds:.0f} CPU s"
