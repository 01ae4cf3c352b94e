"""Runs of several networks over the same seeds, compared: means, spreads, and paired differences.

How a run came about and how a comparison is shown is not here.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from spl.ablation.statistics import Cells, Interval, interval, paired


class Outcome(NamedTuple):
    """How one run ended: errors in percent of the held-out images."""

    error: float  # whose class has not the highest score, after the last epoch
    top5_error: float  # whose class is not among the five highest, after the last epoch
    best_epoch: int
    best_epoch_error: float  # chosen on the held-out images: optimistic
    seconds: float
    curve: tuple[float, ...]  # error after each epoch


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

    @property
    def cost(self) -> float:
        """What a run of it takes."""
        return self.macs


@dataclass(frozen=True)
class Comparison(Cells):
    """Networks, the first of which is the baseline, and the seeds that each is to be trained with."""

    entries: Sequence[Entry]
    seeds: Sequence[int]
    num_classes: int
    notes: Sequence[str]  # sentences that say how it was made

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
        if entry is self.entries[0]:
            return None
        errors, baseline = (
            {seed: outcome.error for seed, outcome in one.outcomes.items()}
            for one in (entry, self.entries[0])
        )
        return paired(errors, baseline)
