"""The loop of every training, with a toy one: where it stops, what is saved, what is said on each path."""

import io
import signal
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from spl.config.errors import RunError, UsageError
from spl.processes.signals import StopSignals
from spl.processes.threads import Threads
from spl.runs import checkpoint
from spl.runs.logger import Report
from spl.training import loop
from spl.training.loop import NotTaken, Part, resuming, run

AGAIN = "spl train toy --resume here"


class Toy:
    """Adds a draw in each update and, after every third, the square of the sum; saved after each of both."""

    counted, shows_end = "update", False

    def __init__(self, folder: Path, total: int = 6) -> None:
        self.folder, self.total, self.done, self.sum = folder, total, 0, 0.0
        self.generator = np.random.default_rng(0)
        self.at: dict[object, Callable[[], None]] = {}  # what happens in an update, or "judge" of one
        self.saves: list[int] = []
        self.can_hang = self.is_save_due = self.is_unjudged = False
        if checkpoint.latest(folder / "checkpoints") is not None:
            with resuming(folder):
                self.load_state_dict(checkpoint.load(folder / "checkpoints"))
        self.told = io.StringIO()
        console = Console(file=self.told, width=200)
        self.report = Report(folder, "toy", total, first_step=self.done, console=console)
        self.stop, self.threads = StopSignals(), Threads(1)

    @property
    def is_finished(self) -> bool:
        return self.done == self.total and not self.is_unjudged

    def units(self) -> Iterator[tuple[Part, ...]]:
        if self.is_unjudged:
            yield (Part(self.judge),)
        while self.done < self.total:
            learn = Part(self.learn, can_hang=self.can_hang)
            yield (
                (learn,)
                if (self.done + 1) % 3
                else (learn, Part(self.judge), Part(self.draw, keeps_state=True))
            )

    def learn(self) -> None:
        self.sum += self.generator.random()
        if act := self.at.get(self.done):
            act()
        self.done += 1
        self.is_unjudged = self.is_save_due = self.done % 3 == 0

    def judge(self) -> None:
        self.sum += self.sum**2
        if act := self.at.get("judge"):
            act()
        self.report.row(self.done, {"sum": self.sum})
        self.is_unjudged, self.is_save_due = False, True

    def draw(self) -> None:
        (self.folder / f"picture-{self.done}").touch()

    def save(self) -> None:
        checkpoint.save(self.folder / "checkpoints", self.state_dict(), step=self.done)
        self.saves.append(self.done)
        self.is_save_due = False

    def state_dict(self) -> dict[str, Any]:
        generator = self.generator.bit_generator.state
        return {"done": self.done, "sum": self.sum, "generator": generator, "is_unjudged": self.is_unjudged}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.generator.bit_generator.state = state["generator"]
        self.done, self.sum, self.is_unjudged = state["done"], state["sum"], state["is_unjudged"]

    def summary(self) -> list[str]:
        return ["toy        adds"]

    def status(self) -> dict[str, Any]:
        return {"sum": self.sum}

    def farewell(self) -> str:
        return "finished; eat it"

    def go(self, save_every_minutes: float = 1e9) -> bool:
        return run(self, save_every_minutes=save_every_minutes, resume_with=AGAIN)

    @property
    def last_words(self) -> str:
        return self.told.getvalue().splitlines()[-1]

    @property
    def saved(self) -> dict[str, Any]:
        return checkpoint.load(self.folder / "checkpoints")


def term() -> None:
    signal.raise_signal(signal.SIGTERM)


def failing(error: BaseException) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


def finished(folder: Path, total: int = 6) -> Toy:
    folder.mkdir()
    toy = Toy(folder, total)
    assert toy.go()
    return toy


def test_a_folder_that_was_moved_gets_no_second_one_in_its_place(tmp_path: Path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").touch()
    toy, moved = Toy(tmp_path / "run"), tmp_path / "moved"
    toy.at[4] = lambda: toy.folder.rename(moved)
    with pytest.raises(RunError, match=r"the run folder .*run was moved or deleted while"):
        toy.go()
    assert toy.last_words == "stopped; last saved at update 3", "it cannot be resumed where it was"
    assert not (tmp_path / "run").exists()
    assert Toy(moved).done == 3, "it can be resumed there"


def test_a_learner_goes_to_its_end_and_is_saved_where_it_says(tmp_path: Path):
    toy = finished(tmp_path / "run", total=7)
    assert toy.saves == [3, 3, 6, 6, 7], "at each update and judgement that says so, and at the end"
    assert toy.saved == toy.state_dict()
    assert toy.told.getvalue().splitlines() == [
        f"run        {tmp_path / 'run'}",
        "toy        adds",
        "finished; eat it",
    ]


def test_what_only_writes_needs_no_save_after_it(tmp_path: Path):
    toy = finished(tmp_path / "run", total=3)
    assert (toy.folder / "picture-3").exists()
    assert toy.saves == [3, 3]


@pytest.mark.parametrize("at", [0, 1, 2, 3, 5, "judge"])
def test_a_signal_stops_at_the_end_of_the_unit_and_what_is_resumed_equals_one_left_alone(
    tmp_path: Path, at: object
):
    alone = finished(tmp_path / "alone")
    (tmp_path / "stopped").mkdir()
    toy = Toy(tmp_path / "stopped")
    toy.at[at] = term
    done = 3 if at == "judge" else int(str(at)) + 1
    assert toy.go() == (done == 6)
    assert (toy.done, toy.is_unjudged) == (done, False), "an update is judged before it is stopped"
    assert toy.saved == toy.state_dict()
    if done < 6:
        assert toy.last_words == f"stopped and saved at update {done}; resume with: {AGAIN}"
    again = Toy(toy.folder)
    assert again.go()
    assert again.saved == alone.saved
    rows = [(toy.folder / "metrics.jsonl").read_text().count('"sum"') for toy in (again, alone)]
    assert rows == [2, 2]


def test_a_signal_before_the_first_unit_stops_there(tmp_path: Path):
    toy = Toy(tmp_path)
    toy.stop.stop()
    assert not toy.go()
    assert toy.done == 0
    assert toy.last_words == f"stopped and saved at update 0; resume with: {AGAIN}"
    assert Toy(tmp_path).go()


@pytest.mark.parametrize("at", [1, 4, "judge"])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError("the disk is gone")])
def test_half_a_part_is_never_saved(tmp_path: Path, at: object, error: BaseException):
    alone = finished(tmp_path / "alone")
    (tmp_path / "broken").mkdir()
    toy = Toy(tmp_path / "broken")
    toy.at[at] = failing(error)
    with pytest.raises(type(error)):
        toy.go()
    if at == 1:
        assert checkpoint.latest(toy.folder / "checkpoints") is None
        assert toy.last_words == "stopped; nothing was saved"
    elif at == 4:
        assert toy.saved["done"] == 3
        assert toy.last_words == f"stopped; last saved at update 3; resume with: {AGAIN}"
    else:
        assert toy.saved["is_unjudged"], "it was saved before it was judged"
        assert toy.last_words == f"stopped and saved at update 3; resume with: {AGAIN}"
    again = Toy(toy.folder)
    assert again.go()
    assert again.saved == alone.saved


def failed_allocation() -> RuntimeError:
    """Return the error of torch for a tensor on the CPU that no machine has the memory for."""
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    return caught.value


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (torch.OutOfMemoryError("CUDA out of memory.\nTried"), "CUDA out of memory."),
        (MemoryError(), "MemoryError"),
        (failed_allocation(), "can't allocate memory: you tried to allocate 1152921504606846976 bytes.*"),
    ],
)
def test_memory_that_does_not_suffice_is_told_as_a_failure_of_the_run(
    tmp_path: Path, error: Exception, why: str
):
    toy = Toy(tmp_path)
    toy.at[4] = failing(error)
    with pytest.raises(
        RunError, match=rf"^the memory does not suffice after update 4: {why}; a smaller batch"
    ):
        toy.go()
    assert toy.last_words == f"stopped; last saved at update 3; resume with: {AGAIN}"


def test_an_error_between_two_units_is_saved_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    toy, units = Toy(tmp_path), Toy.units

    def failing_after_two(self: Toy) -> Iterator[tuple[Part, ...]]:
        for _, unit in zip(range(2), units(self), strict=False):
            yield unit
        raise OSError("a batch cannot be read")

    monkeypatch.setattr(Toy, "units", failing_after_two)
    with pytest.raises(OSError, match="cannot be read"):
        toy.go()
    assert toy.saved["done"] == 2
    assert toy.last_words == f"stopped and saved at update 2; resume with: {AGAIN}"


def test_what_can_hang_is_interrupted_and_saved_and_nothing_else_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(StopSignals, "PATIENCE_S", 0.05)

    def hang() -> None:
        term()
        signal.sigtimedwait([], 0.4)  # an alarm interrupts it

    patient, other = (tmp_path / name for name in ("patient", "other"))
    for folder in (patient, other):
        folder.mkdir()
    toy = Toy(patient)
    toy.at[1] = hang
    assert not toy.go()
    assert toy.saved["done"] == 2
    toy = Toy(other)
    toy.at[1], toy.can_hang = hang, True
    with pytest.raises(KeyboardInterrupt):
        toy.go()
    assert toy.saved["done"] == 1


def test_a_batch_whose_loss_is_not_finite_is_set_aside(tmp_path: Path):
    toy = Toy(tmp_path)
    batch = {"video": torch.arange(6.0).reshape(2, 3).T}
    toy.at[4] = failing(NotTaken(4, batch, "the loss is nan", "a smaller rate may help"))
    path = tmp_path / "batch-4.safetensors"
    expected = (
        f"update 5 was not taken: the loss is nan; its batch is saved in {path}; a smaller rate may help"
    )
    with pytest.raises(RunError) as caught:
        toy.go()
    assert str(caught.value) == expected
    assert torch.equal(load_file(path)["video"], batch["video"])
    assert toy.saved["done"] == 4
    assert toy.last_words == f"stopped and saved at update 4; resume with: {AGAIN}"


def test_a_batch_that_a_full_disk_does_not_take_hides_no_reason(tmp_path: Path, monkeypatch):
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(loop, "write_tensors", fail)
    toy = Toy(tmp_path)
    toy.at[4] = failing(NotTaken(4, {}, "the loss is nan", "a smaller rate may help"))
    told = r"the loss is nan; its batch cannot be saved in .*No space left on device; a smaller rate"
    with pytest.raises(RunError, match=told):
        toy.go()
    assert toy.saved["done"] == 4


def test_a_save_that_fails_is_not_said_to_be_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    save = Toy.save

    def full(self: Toy) -> None:
        if self.done > 3:
            raise OSError("no space left")
        save(self)

    monkeypatch.setattr(Toy, "save", full)
    toy = Toy(tmp_path)
    toy.at[4] = term
    with pytest.raises(OSError, match="no space left"):
        toy.go()
    assert toy.saved["done"] == 3
    assert toy.last_words == f"stopped; last saved at update 3; resume with: {AGAIN}"
    toy = Toy(tmp_path)
    with pytest.raises(OSError, match="no space left"):
        toy.go()
    assert "finished" not in toy.told.getvalue()


def test_it_is_saved_by_minutes_too(tmp_path: Path):
    toy = Toy(tmp_path)
    toy.go(save_every_minutes=1e-12)
    assert toy.saves == [1, 2, 3, 3, 3, 4, 5, 6, 6, 6]


def test_a_change_of_threads_and_the_end_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    toy = Toy(tmp_path, total=2)
    toy.shows_end = True
    changes = iter(["2 -> 1", None])
    monkeypatch.setattr(toy.threads, "look", partial(next, changes))
    toy.go()
    told = toy.told.getvalue().splitlines()
    assert told[2] == "threads    2 -> 1"
    assert told[3].startswith("step 2 of 2, 0:00 left: sum 0.9067")
    assert told[4] == "finished; eat it"


@pytest.mark.parametrize("error", [ValueError("it is another"), KeyError("sum"), RuntimeError("shapes")])
def test_what_does_not_fit_is_told_as_a_mistake(tmp_path: Path, error: Exception):
    with pytest.raises(UsageError, match=f"the run in {tmp_path} cannot be resumed: "), resuming(tmp_path):
        raise error
