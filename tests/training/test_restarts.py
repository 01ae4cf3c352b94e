"""Initialisations side by side: one that fails leaves the others alone, the best is kept, its weights too."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from spl.config.errors import RunError
from spl.training.restarts import Restarts, forget_losers, initialisations, judge, train_each


def train(place: Path, number: int) -> bool:
    (place / "checkpoints").mkdir()
    if number == 1:
        raise RunError("planted")
    return True


@dataclass(frozen=True)
class Run:
    seed: int
    restarts: int
    epochs: int = 3


def test_initialisations_are_runs_of_the_next_seeds():
    assert initialisations(Run(5, 3)) == [Run(5, 1), Run(6, 1), Run(7, 1)]


def test_one_that_fails_does_not_take_the_others_along(tmp_path: Path):
    restarts = train_each(tmp_path, range(3), train)
    assert restarts == Restarts([tmp_path / "restart-0", tmp_path / "restart-2"], {"restart-1": "planted"})


def test_folders_that_are_there_are_gone_on_with(tmp_path: Path):
    assert train_each(tmp_path, range(3), lambda place, number: number < 1) is None
    (tmp_path / "restart-0" / "checkpoints").mkdir()
    found = {}

    def look(place: Path, number: int) -> bool:
        found[number] = [path.name for path in place.iterdir()]
        return True

    train_each(tmp_path, range(2), look)
    assert found == {0: ["checkpoints"], 1: []}


def test_nothing_follows_one_that_was_told_to_stop(tmp_path: Path):
    seen = []
    assert (
        train_each(tmp_path, range(3), lambda place, number: bool(seen.append(number)) or number < 1) is None
    )
    assert seen == [0, 1]


def test_all_that_fail_are_an_error(tmp_path: Path):
    with pytest.raises(RunError, match="none of the 1 restarts came to its end: planted"):
        train_each(tmp_path, [1], train)


@pytest.mark.parametrize(("best", "kept"), [(min, "restart-2"), (max, "restart-0")])
def test_the_best_is_kept_and_what_failed_can_be_looked_into(tmp_path: Path, best, kept: str):
    restarts = train_each(tmp_path, range(3), train)
    assert restarts is not None
    told = judge(restarts, "loss", [3.0, 1.0], best, "loss over the last epoch")
    assert told == {
        "kept": kept,
        "chosen_on": "loss over the last epoch",
        "loss": [3.0, 1.0],
        "mean": 2.0,
        "sd": pytest.approx(2.0**0.5),
        "failed": {"restart-1": "planted"},
    }
    forget_losers(tmp_path, told, ("checkpoints", "best"))
    left = {path.parent.name for path in tmp_path.glob("*/checkpoints")}
    assert left == {kept, "restart-1"}


def test_one_alone_has_no_spread(tmp_path: Path):
    assert judge(Restarts([tmp_path], {}), "loss", [1.5], min, "loss")["sd"] == 0.0
