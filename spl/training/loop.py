"""The loop of every training: what surrounds its own work, from its first unit to its last or a signal.

Where batches come from, which losses they get and when a model is judged is each training's own.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from torch import Tensor

from spl.config.errors import RunError, UsageError, lack_of_memory
from spl.processes.signals import StopSignals
from spl.processes.threads import Threads
from spl.runs import checkpoint
from spl.runs.logger import Report
from spl.runs.state import MISFIT
from spl.runs.tensors import write_tensors
from spl.training.shared import agreed


class Part(NamedTuple):
    """What is done at a stretch; before and after it, a training is whole and can be saved."""

    do: Callable[[], None]
    can_hang: bool = False  # waits for an environment: interrupted anywhere in it, the training is whole
    keeps_state: bool = False  # only writes what follows from the state: no save is needed after it


class Training(Protocol):
    """What one training brings to `run`; everything else is the loop's.

    A unit is what is left to do in parts: between two of them it may be saved, and is stopped only after the
    last. Rows are written to the report by the training itself, before it is saved.
    """

    folder: Path  # of the run
    report: Report
    stop: StopSignals
    threads: Threads
    counted: str  # what `done` counts: "update" or "step"
    shows_end: bool  # its status is shown once more at the end

    @property
    def done(self) -> int: ...  # updates or steps
    @property
    def is_finished(self) -> bool: ...
    @property
    def is_save_due(self) -> bool: ...  # whatever the time
    def units(self) -> Iterator[tuple[Part, ...]]: ...  # what is left
    def save(self) -> None: ...  # a checkpoint from which the next part comes out the same
    def summary(self) -> Iterable[str]: ...  # what was chosen, said at the start
    def status(self) -> Mapping[str, Any]: ...  # what the terminal shows
    def farewell(self) -> str: ...  # what is said once it is finished


class NotTaken(ArithmeticError):
    """An ``update``, from 0, whose loss or gradient is not finite: no step was taken; all is whole."""

    def __init__(self, update: int, batch: Mapping[str, Tensor], why: object, remedy: str) -> None:
        super().__init__(f"update {update + 1} was not taken: {why}")
        self.name, self.remedy = f"batch-{update}.safetensors", remedy
        self.batch = {name: tensor.contiguous() for name, tensor in batch.items()}


def run(training: Training, *, save_every_minutes: float, resume_with: str) -> bool:
    """Drive a training from where it stands to its end, or to a signal; return whether it came to its end.

    It is stopped between two units only. Whatever ends it between two parts, it is saved first.

    Args:
        training: fresh, or restored from its folder.
        save_every_minutes: at the latest, besides when it says so.
        resume_with: the command that a stopped run names.

    Raises:
        RunError: if a loss is not finite; its batch is set aside. If the folder was moved or deleted, or the
            memory does not suffice.
    """
    report, stop = training.report, training.stop
    described = (training.folder / "config.yaml").is_file()
    saved = training.done if checkpoint.latest(training.folder / "checkpoints") is not None else None
    saved_at, is_saved, is_whole = time.monotonic(), saved is not None, True

    def save() -> None:
        nonlocal saved, saved_at, is_saved
        if described:
            _check_place(training.folder)
        with stop.patience():
            training.save()
        saved, saved_at, is_saved = training.done, time.monotonic(), True

    try:
        with report, stop:
            report.say(f"run        {training.folder}")
            if report.tracked is not None:
                report.say(f"tracker    {report.tracked}")
            for line in training.summary():
                report.say(line)
            units = training.units()
            try:
                while not agreed(stop.has_come()) and (unit := next(units, None)) is not None:
                    for part in unit:
                        is_saved, is_whole = is_saved and part.keeps_state, part.can_hang or part.keeps_state
                        with nullcontext() if part.can_hang else stop.patience():
                            part.do()
                        is_whole = True
                        if training.is_save_due or time.monotonic() - saved_at >= 60.0 * save_every_minutes:
                            save()
                    if (change := training.threads.look()) is not None:
                        report.say(f"threads    {change}")
                    if report.is_due():
                        report.show(training.done, training.status())
            except NotTaken as error:
                is_whole = True
                raise _set_aside(error, training.folder) from error
            except (MemoryError, RuntimeError) as error:
                if (why := lack_of_memory(error)) is None:
                    raise
                raise RunError(
                    f"the memory does not suffice after {training.counted} {training.done:,}: {why}; "
                    "a smaller batch or network needs less"
                ) from error
            finally:
                if is_whole and not is_saved:
                    save()
                if training.shows_end:
                    report.show(training.done, training.status())
    finally:
        report.say(_closing_words(training, saved, resume_with))
    return training.is_finished


def _check_place(folder: Path) -> None:
    """Refuse to save where the run is no more: a new folder of its name would hold a part of it.

    Inodes would also tell of another run that took its place, but not on every network disk.

    Raises:
        RunError: saying so.
    """
    if not (folder / "config.yaml").is_file():
        raise RunError(
            f"the run folder {folder} was moved or deleted while the run was trained: what it saved before "
            "lies where it was moved to, and it can be resumed there"
        )


def _set_aside(error: NotTaken, folder: Path) -> RunError:
    path = folder / error.name
    try:
        write_tensors(path, error.batch)
    except OSError as why:
        return RunError(f"{error}; its batch cannot be saved in {path}: {why}; {error.remedy}")
    return RunError(f"{error}; its batch is saved in {path}; {error.remedy}")


def _closing_words(training: Training, saved: int | None, resume_with: str) -> str:
    if saved is None:
        return "stopped; nothing was saved"
    if not training.folder.is_dir():
        return f"stopped; last saved at {training.counted} {saved:,}"
    if saved != training.done:
        return f"stopped; last saved at {training.counted} {saved:,}; resume with: {resume_with}"
    if training.is_finished:
        return training.farewell()
    return f"stopped and saved at {training.counted} {saved:,}; resume with: {resume_with}"


@contextmanager
def resuming(folder: Path) -> Iterator[None]:
    """Raise `UsageError` for what does not serve of what was saved in ``folder``."""
    try:
        yield
    except MISFIT as error:
        raise UsageError(f"the run in {folder} cannot be resumed: {error}") from error
