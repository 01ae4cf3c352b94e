"""Runs of several variants over the same seeds: which are there, means with intervals, paired differences.

How a run came about and how a comparison is shown is not here.
"""

import math
import re
import statistics
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

SHARE = 0.95  # of such intervals hold the true mean
MOST_SEEDS = 1_000  # in one range


class Interval(NamedTuple):
    """A mean, and where the true one lies."""

    mean: float
    low: float | None  # None where there is only one value
    high: float | None


class Entry(Protocol):
    """One variant of a comparison."""

    @property
    def name(self) -> str:
        """Name of its folder."""

    @property
    def label(self) -> str:
        """How tables name it."""

    @property
    def cost(self) -> float:
        """What a run of it takes, in any unit that is the same for all."""

    @property
    def outcomes(self) -> dict[int, Any]:
        """How its runs ended, by seed; each has ``seconds``."""

    @property
    def failures(self) -> dict[int, str]:
        """Why there is no outcome, by seed."""


class Cells:
    """What is to be counted of a comparison: variants, the first of which is the baseline, and seeds."""

    entries: Sequence[Any]
    seeds: Sequence[int]  # that each is to be trained with

    @property
    def num_cells(self) -> int:
        """Number of runs that make it whole."""
        return len(self.entries) * len(self.seeds)

    @property
    def num_finished(self) -> int:
        """Number of runs with an outcome."""
        return sum(len(entry.outcomes) for entry in self.entries)

    @property
    def num_failed(self) -> int:
        """Number of runs that broke off."""
        return sum(len(entry.failures) for entry in self.entries)


def paired(values: dict[int, float], baseline: dict[int, float]) -> Interval | None:
    """Return the mean difference to the baseline over the seeds that both have; None where there are none."""
    common = sorted(values.keys() & baseline.keys())
    return interval([values[seed] - baseline[seed] for seed in common]) if common else None


def interval(values: Sequence[float]) -> Interval:
    """Return the mean of ``values`` and its 95 % interval, ``mean ± t s / sqrt(n)``.

    ``s`` is the standard deviation with ``n - 1``, and ``t`` Student's quantile 0.975 for ``n - 1`` degrees
    of freedom. Of one value there is no interval.

    Raises:
        ValueError: if there are no values.

    Source: Student (1908), The probable error of a mean.
    """
    if not values:
        raise ValueError("there must be at least one value, got none")
    mean = statistics.fmean(values)
    if len(values) == 1:
        return Interval(mean, None, None)
    from scipy.special import stdtrit

    quantile = float(stdtrit(len(values) - 1, (1.0 + SHARE) / 2.0))
    half = quantile * statistics.stdev(values) / math.sqrt(len(values))
    return Interval(mean, mean - half, mean + half)


def headline(cells: Cells) -> str:
    """Return the title of a comparison, which says whether it is whole."""
    count = f"{cells.num_finished} of {cells.num_cells} cells"
    if cells.num_failed:
        count += f", {cells.num_failed} failed"
    is_whole = cells.num_finished == cells.num_cells
    return "Ablation" if is_whole else f"Ablation, PARTIAL: {count}"


def failed(cells: Cells) -> list[str]:
    """Return a sentence for each run that broke off."""
    return [
        f"Failed: {entry.label}, seed {seed}: {reason}"
        for entry in cells.entries
        for seed, reason in sorted(entry.failures.items())
    ]


def seconds_left(cells: Cells) -> float | None:
    """Return how long the missing runs take, by those that are finished; None while none is.

    A variant takes what its own runs took. One without any takes the mean of the others, by its cost.
    """
    means = [
        (entry, statistics.fmean(outcome.seconds for outcome in entry.outcomes.values()))
        for entry in cells.entries
        if entry.outcomes
    ]
    if not means:
        return None
    per_cost = sum(seconds for _, seconds in means) / max(1, sum(entry.cost for entry, _ in means))
    known = {entry.name: seconds for entry, seconds in means}
    left: float = sum(
        known.get(entry.name, per_cost * entry.cost)
        * (len(cells.seeds) - len(entry.outcomes) - len(entry.failures))
        for entry in cells.entries
    )
    return left


def read_seeds(text: str) -> list[int]:
    """Return the seeds that ``0-4`` or ``0,3,7`` names, in that order.

    Raises:
        ValueError: if it names none, one twice, or is neither.
    """
    seeds: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)(?:-(\d+))?\s*", part, re.ASCII)
        first, last = (0, -1) if match is None else (int(match[1]), int(match[2] or match[1]))
        if not first <= last < min(2**63, first + MOST_SEEDS):
            raise ValueError(f"seeds must be numbers or rising ranges, such as 0-4 or 0,3,7, got {text!r}")
        seeds += range(first, last + 1)
    if twice := [seed for seed in seeds if seeds.count(seed) > 1]:
        raise ValueError(f"seeds must name each seed once, got {twice[0]} twice in {text!r}")
    return seeds
