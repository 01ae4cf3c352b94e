"""A run's log: a live panel or plain lines, one JSON line per row, and the rows for a tracker."""

import json
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

from rich import box
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table

from spl.packages import is_installed
from spl.printable import printable, printable_lines
from spl.processes.ranks import rank
from spl.runs.files import not_saved, replace_text
from spl.runs.trackers import TrackerName, Tracking

REFRESH_S = 0.25  # between two drawings of the panel
PLAIN_S = 5.0  # between two plain lines
RESERVED = ("step", "seconds")


def duration(seconds: float) -> str:
    """Return ``1:02:03`` or ``2:03`` for a number of seconds."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def brief(value: Any) -> str:
    """Return a number as a person reads it: four significant digits, thousands apart."""
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def say(console: Console, sentence: str) -> None:
    """Print a sentence as it is, in one line however narrow the terminal; what it obeys is escaped."""
    console.print(printable_lines(sentence), highlight=False, soft_wrap=True, markup=False)


class Report:
    """Writes the rows of a run and shows the newest.

    Args:
        folder: gets ``metrics.jsonl`` (appended) and what the tracker keeps there.
        title: of the panel.
        num_steps: where the run ends.
        first_step: where this stretch began; rows of a killed stretch beyond it are cut off, and the
            seconds go on from the last row that is kept.
        is_logged: keep rows; False only shows.
        console: where to show; standard error by default.
        config: of the run, whose ``track`` names a tracker; None, or of none: TensorBoard where installed.
        owed: how many of the steps taken still have to be learned from; the time left counts them.

    Raises:
        UsageError: if the tracker cannot be opened.
    """

    def __init__(
        self,
        folder: Path,
        title: str,
        num_steps: int,
        *,
        first_step: int = 0,
        is_logged: bool = True,
        console: Console | None = None,
        config: Any = None,
        owed: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self.title, self.owed = title, owed
        self.num_steps = num_steps
        self.first_step = first_step
        self.console = Console(stderr=True) if console is None else console
        self._path = folder / "metrics.jsonl"
        self._file: TextIO | None = None
        self._tracking: Tracking | None = None
        self._is_asked_for = config is not None and config.track is not None
        self._seconds_before = 0.0  # of the stretches before this one
        if is_logged:
            self._keep_rows_until(first_step)
            self._tracking = None if rank() else self._track(folder, config)
            self._file = self._path.open("a", encoding="utf-8")
        self._live: Live | None = None
        self._started = self._shown = time.monotonic()
        self._status: dict[str, Any] = {}

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self._live = Live(console=self.console, auto_refresh=False, transient=False)
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()
        if self._file is not None:
            with suppress(OSError):  # of a row that could not be written, which was told
                self._file.close()
        if self._tracking is not None:
            self._tracking.close(is_failed=kind is not None)

    @property
    def elapsed_s(self) -> float:
        """Seconds since this stretch began."""
        return time.monotonic() - self._started

    def is_due(self) -> bool:
        """Whether the terminal wants news; ask before gathering any."""
        return time.monotonic() - self._shown >= (PLAIN_S if self._live is None else REFRESH_S)

    def show(self, step: int, status: Mapping[str, Any]) -> None:
        """Show ``status`` at ``step``; the panel is drawn again, or a plain line is printed."""
        self._shown = time.monotonic()
        self._status = dict(status)
        if self._live is not None:
            self._live.update(self._panel(step), refresh=True)
            return
        told = ", ".join(f"{name} {printable(brief(value))}" for name, value in self._status.items())
        self.say(f"step {step:,} of {self.num_steps:,}, {self._left(step)} left: {told}")

    def row(self, step: int, values: Mapping[str, float | int | str]) -> None:
        """Append one row; keys are TensorBoard tags such as ``rollout/ep_rew_mean``.

        Raises:
            OSError: if the disk refuses it.
        """
        if self._file is None:
            raise ValueError("this report keeps no rows: make it with is_logged=True")
        row = {"step": step, "seconds": round(self._seconds_before + self.elapsed_s, 3), **values}
        try:
            self._file.write(json.dumps(row) + "\n")
            self._file.flush()
        except OSError as error:
            raise not_saved("a row of metrics.jsonl", self._path.parent, error) from error
        if self._tracking is not None:
            self._tracking.row(step, values)

    def say(self, sentence: str) -> None:
        """Print a sentence above the panel."""
        say(self.console, sentence)

    @property
    def tracked(self) -> str | None:
        """Where the tracker that was asked for shows the run."""
        return None if self._tracking is None or not self._is_asked_for else self._tracking.place

    def _track(self, folder: Path, config: Any) -> Tracking | None:
        name: TrackerName = config.track if self._is_asked_for else "tensorboard"
        if not (self._is_asked_for or is_installed(name)):
            return None
        return Tracking(name, folder, config, self.first_step, self.say, is_asked_for=self._is_asked_for)

    def _left(self, step: int) -> str:
        whole = step - self.owed()
        done = whole - self.first_step
        return duration(self.elapsed_s / done * (self.num_steps - whole)) if done > 0 else "?"

    def _panel(self, step: int) -> Panel:
        table = Table.grid(padding=(0, 2))
        table.add_row("step", f"{step:,} of {self.num_steps:,}")
        table.add_row("", ProgressBar(total=self.num_steps, completed=step, width=40))
        table.add_row("time", f"{duration(self.elapsed_s)} gone, {self._left(step)} left")
        for name, value in self._status.items():
            table.add_row(name, escape(printable(brief(value))))
        return Panel(table, title=escape(printable(self.title)), title_align="left", expand=False)

    def _keep_rows_until(self, step: int) -> None:
        if not self._path.exists():
            return
        before = self._path.read_text(encoding="utf-8", errors="replace")
        kept = [line for line in before.splitlines() if _step_of(line) <= step] if step else []
        if (text := "".join(line + "\n" for line in kept)) != before:
            replace_text(self._path, text)
        self._seconds_before = seconds_of(json.loads(kept[-1])) if kept else 0.0


def seconds_of(row: Mapping[str, Any]) -> float:
    """Return when a row was written, in seconds of the run; 0 where it does not say."""
    seconds = row.get("seconds")
    return float(seconds) if isinstance(seconds, int | float) else 0.0


def _step_of(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")  # a line cut by a kill


def print_table(
    title: str,
    columns: list[str],
    rows: list[list[str]],
    file: TextIO | None = None,
    *,
    is_prose: bool = False,
) -> None:
    """Print a table to standard output: the first column to the left, the others to the right.

    Where a terminal is too narrow, cells are folded, so that no number is cut. ``is_prose``: cells hold
    sentences with Rich's markup; all are to the left, and only the last column is folded.
    """
    table = Table(title=escape(printable(title)), title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1))
    for position, column in enumerate(columns):
        is_left, is_last = position == 0 or is_prose, position == len(columns) - 1
        form = {"no_wrap": True} if is_prose and not is_last else {"overflow": "fold"}
        table.add_column(column, justify="left" if is_left else "right", **form)
    for row in rows:
        table.add_row(*(row if is_prose else (escape(printable(cell)) for cell in row)))
    console = Console(file=sys.stdout if file is None else file)
    if not console.is_terminal:
        console.width = 1_000  # a file is not folded to a terminal's width
        console.width = 120 if is_prose else max(120, console.measure(table).maximum)
    console.print(table)
