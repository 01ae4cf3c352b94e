"""Random initialisations of a run, each in its own folder within the run directory; the best is kept.

What is trained, and what makes one the best, is decided elsewhere.
"""

import shutil
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from spl.config.errors import RunError, UsageError

T = TypeVar("T")


class Restarts(NamedTuple):
    """How the initialisations of a run ended."""

    finished: list[Path]  # at least one
    failed: dict[str, str]  # why one did not come to its end, by the name of its folder


def initialisations(config: T) -> list[T]:
    """Return what describes the ``restarts`` of a run, of the seeds from its own on, as if started alone.

    Raises:
        UsageError: if there are not so many seeds.
    """
    one: Any = config
    try:
        return [replace(one, restarts=1, seed=one.seed + number) for number in range(one.restarts)]
    except ValueError as error:
        raise UsageError(f"{one.restarts} restarts have the seeds from {one.seed} on: {error}") from error


def train_each(folder: Path, runs: Sequence[T], train: Callable[[Path, T], bool]) -> Restarts | None:
    """Train the initialisations ``runs`` in sub-folders of ``folder``; None if one was told to stop.

    One that fails does not take the others along.

    Args:
        folder: of the run.
        runs: what describes each.
        train: is given the folder of one and what describes it; returns whether it came to its end.

    Raises:
        RunError: if none of them came to its end.
    """
    finished: list[Path] = []
    failed: dict[str, str] = {}
    for number, run in enumerate(runs):
        place = folder / f"restart-{number}"
        place.mkdir(exist_ok=True)
        try:
            if not train(place, run):
                return None
        except RunError as error:
            failed[place.name] = str(error)
        else:
            finished.append(place)
    if not finished:
        raise RunError(f"none of the {len(runs)} restarts came to its end: {failed['restart-0']}")
    return Restarts(finished, failed)


def judge(
    restarts: Restarts, name: str, values: Sequence[float], best: Callable[[Sequence[float]], float], by: str
) -> dict[str, Any]:
    """Return which one is kept and what speaks for it, as JSON holds it.

    Args:
        restarts: those that were trained.
        name: of what they are judged by.
        values: that of each finished one.
        best: ``min`` or ``max``.
        by: ``name`` in words.
    """
    return {
        "kept": restarts.finished[values.index(best(values))].name,
        "chosen_on": by,
        name: list(values),
        "mean": statistics.fmean(values),
        "sd": statistics.stdev(values) if len(values) > 1 else 0.0,
        "failed": restarts.failed,
    }


def forget_losers(folder: Path, told: Mapping[str, Any], names: Sequence[str]) -> None:
    """Delete folders with ``names`` in every restart but the one that is kept, and those that failed.

    ``reported`` is what `judge` returned of the run in ``folder``.
    """
    for place in folder.glob("restart-*"):
        if place.name != told["kept"] and place.name not in told.get("failed", {}):
            for name in names:
                shutil.rmtree(place / name, ignore_errors=True)
