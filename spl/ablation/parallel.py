"""Runs of a grid several at a time, each in a process of its own, here or where Ray starts it.

Which runs there are, and what is made of them, belongs to `spl.ablation.grid`.
"""

import multiprocessing
import os
import shlex
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import torch
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

from spl.config.errors import RunError, UsageError
from spl.printable import printable
from spl.processes.signals import StopSignals, interrupts_blocked
from spl.processes.threads import share_of_cores
from spl.runs.directory import RunContext
from spl.runs.logger import PLAIN_S, REFRESH_S, say

if TYPE_CHECKING:
    from spl.ablation.comparison import Entry
    from spl.ablation.grid import Grid, Task

START = "spawn"  # how a process begins: it has no threads of this one, and no CUDA
OUTPUT = "output.txt"  # in the folder of a run: what its process printed
TAIL = 4_096  # bytes of it that hold its last line


class Job(NamedTuple):
    """A run to train in another process, to which this is sent."""

    remake: "Callable[[Any, Path], Task]"  # makes the grid's task there
    config: Any  # of the grid
    folder: Path  # of the grid
    place: Path  # of the run
    variant: str
    seed: int
    command: Sequence[str]  # that goes on with the grid
    label: str  # as it is told


class Ended(NamedTuple):
    """How a run ended, sent back."""

    is_finished: bool  # False: it was told to stop, or never will be
    failure: str | None = None  # why it broke off
    mistake: str | None = None  # of the user's, with which no run could begin


def work(job: Job) -> Ended:
    """Train a run in this process, on from where it was stopped."""
    torch.set_num_threads(job.config.num_threads)
    command = list(job.command)
    context = RunContext(job.place, command, Console(stderr=True), shlex.join(command))
    try:
        task = job.remake(job.config, job.folder)
        return Ended(task.train(context, job.variant, job.seed))
    except RunError as error:
        return Ended(False, failure=str(error))
    except UsageError as error:
        return Ended(False, mistake=str(error))


def _serve(job: Job, sender: Any) -> None:
    """Train a run in this process, which stops as for a signal where the one above it ends."""
    sys.stdout = sys.stderr = output = (job.place / OUTPUT).open("a", buffering=1, encoding="utf-8")
    for stream in (1, 2):  # what libraries print
        os.dup2(output.fileno(), stream)
    above = multiprocessing.parent_process()
    threading.Thread(target=_stop_with, args=(above,), daemon=True).start()
    ended = work(job)
    with suppress(OSError):  # nobody is there any more
        sender.send(ended)


def _stop_with(above: Any) -> None:
    above.join()
    os.kill(os.getpid(), signal.SIGTERM)


class Cell:
    """A run that a process of its own trains."""

    def __init__(self, job: Job) -> None:
        self.job, self.output = job, job.place / OUTPUT
        self.begun = self.output.stat().st_size if self.output.exists() else 0  # what an earlier one printed
        context: Any = multiprocessing.get_context(START)
        self._receiver, sender = context.Pipe(duplex=False)
        self.process = context.Process(target=_serve, args=(job, sender))
        with interrupts_blocked():
            self.process.start()
        sender.close()

    def __str__(self) -> str:
        return self.job.label

    def is_alive(self) -> bool:
        """Whether the run is still trained."""
        return bool(self.process.is_alive())

    def stop(self) -> None:
        """Let the run stop where it can be resumed."""
        self.process.terminate()

    def end(self) -> Ended:
        """Wait for the process and return how its run ended."""
        ended: Ended | None = None
        with suppress(EOFError):  # it was killed
            ended = self._receiver.recv()
        self._receiver.close()
        self.process.join()
        if ended is None:
            return Ended(False, failure=f"{self._death()}; what was saved before stays: resume it")
        is_told = ended.is_finished or ended.failure or ended.mistake
        return ended if is_told else ended._replace(failure="its process was told to stop: resume it")

    def _death(self) -> str:
        code = self.process.exitcode or 0
        if code < 0:
            return f"its process was killed by {signal.Signals(-code).name}"
        return f"its process broke off with code {code}, see {shlex.quote(str(self.output))}"

    def last_line(self) -> str:
        """Return what it said last."""
        if not self.output.exists():
            return "starts"
        with self.output.open("rb") as file:
            file.seek(max(self.begun, self.output.stat().st_size - TAIL))
            lines = file.read().decode(errors="replace").splitlines()
        return printable(lines[-1]) if lines else "starts"


def train_there(job: Job) -> Ended:
    """Train a run in a process beside this one, which is Ray's; a cancelled one is saved."""
    cell = Cell(job)
    try:
        return cell.end()
    except KeyboardInterrupt:
        cell.stop()
        return cell.end()


class RayCell(Cell):
    """A run that a process on a machine of a Ray cluster trains."""

    def __init__(self, ray: Any, job: Job) -> None:
        self.job, self.output, self.begun = job, job.place / OUTPUT, 0
        self._ray = ray
        task = ray.remote(num_cpus=job.config.num_threads, max_retries=0)(train_there)
        self._answer = task.remote(job)

    def is_alive(self) -> bool:
        """Whether the run is still waiting or trained."""
        return not self._ray.wait([self._answer], timeout=0)[0]

    def stop(self) -> None:
        """Let the run stop where it can be resumed."""
        self._ray.cancel(self._answer)

    def end(self) -> Ended:
        """Wait for the task and return how its run ended."""
        try:
            ended: Ended = self._ray.get(self._answer)
        except self._ray.exceptions.RayError as error:
            return Ended(False, failure=f"Ray lost it ({str(error).splitlines()[0]}): resume it")
        return ended


class Board:
    """Shows how far the runs are: on a terminal all on a panel, else one after the other as lines."""

    def __init__(self, console: Console, title: Callable[[], str]) -> None:
        self.console, self.title = console, title
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None
        self._shown, self._turn = time.monotonic(), 0

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, cells: Sequence[Cell]) -> None:
        """Show the runs that are being trained."""
        if self._live is not None:
            table = Table.grid(padding=(0, 2))
            for cell in cells:
                table.add_row(escape(printable(str(cell))), escape(cell.last_line()))
            panel = Panel(table, title=escape(self.title()), title_align="left", expand=False)
            self._live.update(panel, refresh=True)
        elif cells and time.monotonic() - self._shown >= PLAIN_S:
            self._shown, self._turn = time.monotonic(), self._turn + 1
            cell = cells[self._turn % len(cells)]
            say(self.console, f"{cell}: {cell.last_line()}")


def with_threads(config: Any) -> Any:
    """Return the options of a grid with a fixed number of threads for each run: the cores divided.

    It does not follow neighbours, as each run is one to the others.
    """
    if config.num_threads is not None:
        return config
    return replace(config, num_threads=share_of_cores(config.parallel))


def train_cells(grid: "Grid", folder: Path, stop: StopSignals) -> bool:
    """Train the runs of a grid that are not finished; return whether all were tried.

    Raises:
        UsageError: for a mistake with which a run could not begin; the others are stopped.
    """
    config, folder = with_threads(grid.task.config), folder.resolve()
    command = [*grid.task.command.split(), "--resume", str(folder)]
    waiting = deque((entry, seed) for entry, seed in grid.order(folder) if seed not in entry.outcomes)
    grid.say(
        f"parallel   {config.parallel} at a time, --num_threads {config.num_threads} each, with which the "
        "numbers are the same in turns"
    )

    def start(entry: "Entry", seed: int) -> Cell:
        place, label = grid.place(folder, entry, seed), f"{entry.label}, seed {seed}"
        place.mkdir(parents=True, exist_ok=True)
        job = Job(grid.task.remake, config, folder, place, entry.name, seed, command, label)
        return Cell(job) if grid.ray is None else RayCell(grid.ray, job)

    running: dict[Cell, tuple[Entry, int]] = {}
    with Board(grid.console, lambda: f"{grid.task.command} · {grid.counted}") as board:
        try:
            while waiting or running:
                while waiting and len(running) < config.parallel:
                    run = waiting.popleft()
                    running[start(*run)] = run
                time.sleep(REFRESH_S)
                if stop.has_come():
                    return False
                for cell in [one for one in running if not one.is_alive()]:
                    with stop.patience():
                        grid.take(folder, *running.pop(cell), cell.end())
                board.show([*running])
        finally:
            for cell in running:
                cell.stop()
            for cell, (entry, seed) in running.items():
                if cell.end().is_finished:  # meanwhile
                    entry.outcomes[seed] = grid.read(folder, entry, seed)
    return True
