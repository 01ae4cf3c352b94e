"""Trackers to which a run's rows are sent beside its own log: Weights & Biases, MLflow, TensorBoard.

Each is one function. A tracker can fail and the run goes on: ``metrics.jsonl`` has every row in any case.
"""

import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Literal, NamedTuple

from spl.config.errors import UsageError
from spl.config.options import options_of
from spl.packages import require
from spl.runs.files import read_json, replace_text

TrackerName = Literal["wandb", "mlflow", "tensorboard"]
Row = tuple[int, Mapping[str, float]]  # its step, and its numbers by tag
IDS = "trackers.json"  # in a run's folder: the id that each tracker knows the run by
GROUP = "spl"  # project or experiment that runs belong to, unless the tracker's own variable names one
PATIENCE_S = 60.0  # for what is still on its way at a run's end
METRICS_PER_CALL = 1_000  # the most that MLflow takes
PARAMS_PER_CALL = 100


class Tracker(NamedTuple):
    """A run as a tracker has it."""

    id: str | None  # to go on with; None where the folder is enough
    place: str  # where it is looked at
    send: Callable[[list[Row]], None]
    finish: Callable[[bool], None]  # is given whether the run failed


class Run(NamedTuple):
    """What a tracker is told of a run."""

    folder: Path
    options: Mapping[str, Any]  # by dotted name
    first_step: int  # where this stretch begins
    id: str | None  # of the tracker, of an earlier stretch

    @property
    def name(self) -> str:
        """What it is called among others: its folder and what that lies in."""
        return "/".join(self.folder.resolve().parts[-2:])


def wandb(run: Run) -> Tracker:
    """Open a run of Weights & Biases, its files in the run's folder; online or not as ``WANDB_MODE`` says.

    Rows are drawn over our ``step``, not over the count of rows, which a resumed run may not set back.
    """
    module = require("wandb", "--track wandb needs wandb")
    theirs = module.init(
        project=os.environ.get("WANDB_PROJECT", GROUP),
        id=run.id or secrets.token_hex(4),
        name=run.name,
        dir=str(run.folder),
        config=dict(run.options),
        allow_val_change=True,
        resume="allow",
        settings=module.Settings(silent=True, console="off"),
    )
    theirs.define_metric("*", step_metric="step")

    def send(rows: list[Row]) -> None:
        for step, values in rows:
            theirs.log({"step": step, **values})

    place = f"{theirs.settings.sync_dir}, offline" if theirs.offline else str(theirs.url)
    return Tracker(theirs.id, place, send, lambda is_failed: theirs.finish(exit_code=int(is_failed)))


def mlflow(run: Run) -> Tracker:
    """Open a run of MLflow, on the server or in the file that ``MLFLOW_TRACKING_URI`` names."""
    module = require("mlflow", "--track mlflow needs mlflow")
    from mlflow.entities import Metric, Param

    client = module.MlflowClient()
    key = run.id
    if key is not None:
        client.update_run(key, status="RUNNING")
    else:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", GROUP)
        found = client.get_experiment_by_name(name)
        experiment = client.create_experiment(name) if found is None else found.experiment_id
        key = client.create_run(experiment, run_name=run.name).info.run_id
        params = [Param(option, str(value)) for option, value in run.options.items()]
        for first in range(0, len(params), PARAMS_PER_CALL):
            client.log_batch(key, params=params[first : first + PARAMS_PER_CALL])

    def send(rows: list[Row]) -> None:
        now = int(1_000 * time.time())
        metrics = [Metric(tag, value, now, step) for step, values in rows for tag, value in values.items()]
        for first in range(0, len(metrics), METRICS_PER_CALL):
            client.log_batch(key, metrics=metrics[first : first + METRICS_PER_CALL])

    def finish(is_failed: bool) -> None:
        client.set_terminated(key, "FAILED" if is_failed else "FINISHED")

    return Tracker(key, f"{client.tracking_uri}, run {key}", send, finish)


def tensorboard(run: Run) -> Tracker:
    """Open TensorBoard's file in the run's folder; what a killed stretch wrote beyond its save is hidden.

    The thread that sends writes the records. The library's own writer has a thread besides, and where that
    fails, it prints a traceback.
    """
    require("tensorboard", "--track tensorboard needs tensorboard")
    from tensorboard.compat.proto.event_pb2 import Event, SessionLog
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.record_writer import RecordWriter

    folder = run.folder / "tensorboard"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"events.out.tfevents.{time.time():.6f}.{socket.gethostname()}.{os.getpid()}"

    def write(*events: Any) -> None:
        with path.open("ab") as file:
            records = RecordWriter(file)
            for event in events:
                event.wall_time = time.time()
                records.write(event.SerializeToString())

    write(Event(file_version="brain.Event:2"))
    if run.first_step:
        write(Event(step=run.first_step + 1, session_log=SessionLog(status=SessionLog.START)))

    def send(rows: list[Row]) -> None:
        write(
            *(
                Event(step=step, summary=Summary(value=[Summary.Value(tag=tag, simple_value=value)]))
                for step, values in rows
                for tag, value in values.items()
            )
        )

    return Tracker(None, str(folder), send, lambda is_failed: None)


TRACKERS: dict[str, Callable[[Run], Tracker]] = {
    "wandb": wandb,
    "mlflow": mlflow,
    "tensorboard": tensorboard,
}


def check_tracker(name: TrackerName | None) -> None:
    """Refuse a tracker that is not installed, before anything is begun.

    Raises:
        UsageError: that says how to install it.
    """
    if name is not None:
        require(name, f"--track {name} needs {name}")


class Tracking:
    """Sends rows to a tracker from a thread of its own, so that none waits for a network.

    What goes wrong there is said once; from then on the stretch goes on without it.

    Args:
        name: of the tracker.
        folder: of the run; keeps the tracker's id, so that a resumed run goes on with the same one.
        config: of the run, which goes along.
        first_step: where this stretch begins.
        warn: says a sentence.
        is_asked_for: a run that it does not know yet is not begun without it.

    Raises:
        UsageError: if it cannot be opened for such a run.
    """

    def __init__(
        self,
        name: TrackerName,
        folder: Path,
        config: Any,
        first_step: int,
        warn: Callable[[str], None],
        *,
        is_asked_for: bool = True,
    ) -> None:
        self.name, self.warn, self.is_asked_for = name, warn, is_asked_for
        self._rows: SimpleQueue[Row | None] = SimpleQueue()
        self._error: Exception | None = None
        self._is_over, self._is_failed = False, False
        self._tracker = self._open(folder, config, first_step)
        self._thread = threading.Thread(target=self._work, name=f"track-{name}", daemon=True)
        if self._tracker is not None:
            self._thread.start()

    def _open(self, folder: Path, config: Any, first_step: int) -> Tracker | None:
        ids = read_json(folder / IDS) if (folder / IDS).exists() else {}
        options = {} if config is None else _told(config)
        try:
            tracker = TRACKERS[self.name](Run(folder, options, first_step, ids.get(self.name)))
        except UsageError:
            raise
        except Exception as error:  # whatever a library, its server or the network come up with
            if self.name in ids or not self.is_asked_for:
                self._give_up(error)
                return None
            raise UsageError(
                f"--track {self.name} cannot be opened: {_in_short(error)}; choose another, or leave it out"
            ) from error
        if tracker.id is not None:
            replace_text(folder / IDS, json.dumps({**ids, self.name: tracker.id}, indent=1) + "\n")
        return tracker

    @property
    def place(self) -> str | None:
        """Where the run is looked at, if the tracker was opened."""
        return None if self._tracker is None else self._tracker.place

    def row(self, step: int, values: Mapping[str, Any]) -> None:
        """Send the numbers of a row."""
        if self._error is not None:
            self._give_up(self._error)
        elif not self._is_over:
            self._rows.put((step, {tag: float(one) for tag, one in values.items() if _is_number(one)}))

    def close(self, *, is_failed: bool = False) -> None:
        """Send what is left, and end the tracker's run."""
        if self._is_over:
            return
        self._is_failed = is_failed
        self._rows.put(None)
        self._thread.join(PATIENCE_S)
        if self._error is not None:
            self._give_up(self._error)
        elif self._thread.is_alive():
            self._give_up(TimeoutError(f"not all rows arrived within {PATIENCE_S:.0f} s of the run's end"))

    def _give_up(self, error: Exception) -> None:
        if not self._is_over:
            self._is_over = True
            self.warn(
                f"tracker    {self.name} failed: {_in_short(error)}; the run goes on without it, and "
                "metrics.jsonl has all rows"
            )

    def _work(self) -> None:
        """Send rows as they come, those together that wait; the thread's own function."""
        assert self._tracker is not None
        is_last = False
        try:
            while not is_last:
                found = [self._rows.get()]
                while not self._rows.empty():
                    found.append(self._rows.get())
                is_last = found[-1] is None
                self._tracker.send([row for row in found if row is not None])
            self._tracker.finish(self._is_failed)
        except Exception as error:  # likewise
            self._error = error


def _told(config: Any) -> dict[str, Any]:
    """Return the options of a run by their dotted names, as JSON holds them."""
    found = {name: option.default for name, option in options_of(type(config), config)}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in found.items()}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def _in_short(error: Exception) -> str:
    """Return the beginning of an error's first line."""
    return (str(error).splitlines() or [type(error).__name__])[0][:200].rstrip(" .;:")
