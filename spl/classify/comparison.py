"""Runs of several networks over the same seeds, compared: means, spreads, and paired differences.

How a run came about and how a comparison is shown is not here.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

SHARE = 0.95  # of such intervals hold the true mean


class Outcome(NamedTuple):
    """How one run ended: errors in percent of the held-out images."""

    error: float  # whose class has not the highest score, after the last epoch
    top5_error: float  # whose class is not among the five highest, after the last epoch
    best_epoch: int
    best_epoch_error: float  # chosen on the held-out images: optimistic
    seconds: float
    curve: tuple[float, ...]  # error after each epoch


class Interval(NamedTuple):
    """A mean, and where the true one lies."""

    mean: float
    low: float | None  # None where there is only one value
    high: float | None


class Summary(NamedTuple):
    """What the runs of one network come to, in percent of the held-out images."""

    error: Interval
    sd: float | None  # over seeds; None for a single one
    best: float  # of the seeds
    top5_error: float
    difference: Interval | None  # to the baseline, over the seeds that both have; None where there are none


@dataclass(frozen=True)
class Entry:
    """One network of a comparison."""

    name: str  # of its folder
    label: str  # as the papers write it: resnet20 + se
    num_parameters: int
    macs: int  # of one image
    outcomes: dict[int, Outcome] = field(default_factory=dict)  # by seed
    failures: dict[int, str] = field(default_factory=dict)  # by seed: why there is no outcome


@dataclass(frozen=True)
class Comparison:
    """Networks, the first of which is the baseline, and the seeds that each is to be trained with."""

    entries: Sequence[Entry]
    seeds: Sequence[int]
    num_classes: int
    notes: Sequence[str]  # sentences that say how it was made

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

    def summary(self, entry: Entry) -> Summary | None:
        """Return what the runs of ``entry`` come to so far, None before the first."""
        if not entry.outcomes:
            return None
        errors = [outcome.error for outcome in entry.outcomes.values()]
        return Summary(
            error=interval(errors),
            sd=statistics.stdev(errors) if len(errors) > 1 else None,
            best=min(errors),
            top5_error=statistics.fmean(outcome.top5_error for outcome in entry.outcomes.values()),
            difference=self._difference(entry),
        )

    def _difference(self, entry: Entry) -> Interval | None:
        baseline = self.entries[0]
        common = entry.outcomes.keys() & baseline.outcomes.keys()
        if entry is baseline or not common:
            return None
        return interval(
            [entry.outcomes[seed].error - baseline.outcomes[seed].error for seed in sorted(common)]
        )


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


def seconds_left(comparison: Comparison) -> float | None:
    """Return how long the missing runs take, by those that are finished; None while none is.

    A network takes what its own runs took. One without any takes the mean of the others, by its
    multiply-accumulates.
    """
    means = [
        (entry, statistics.fmean(outcome.seconds for outcome in entry.outcomes.values()))
        for entry in comparison.entries
        if entry.outcomes
    ]
    if not means:
        return None
    per_mac = sum(seconds for _, seconds in means) / max(1, sum(entry.macs for entry, _ in means))
    known = {entry.name: seconds for entry, seconds in means}
    return sum(
        known.get(entry.name, per_mac * entry.macs)
        * (len(comparison.seeds) - len(entry.outcomes) - len(entry.failures))
        for entry in comparison.entries
    )
