"""What runs of a grid are measured by, and what a variant's runs come to."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from spl.ablation.statistics import Cells, Interval, interval, paired


class Measure(NamedTuple):
    """A number that a run ends with."""

    name: str  # of its column in files
    title: str  # of its column in tables
    digits: int  # behind the point
    axis: str  # what it is, for a picture


class Panel(NamedTuple):
    """A figure of a run's rows that is drawn over the run."""

    tag: str  # of the rows
    clock: str  # epoch or step
    scale: float  # by which it is multiplied
    axis: str


class Outcome(NamedTuple):
    """How one run ended."""

    values: dict[str, float]  # by the name of the measure
    seconds: float
    curves: dict[str, list[tuple[float, float]]]  # by the tag of the panel


class Summary(NamedTuple):
    """What the runs of one variant come to, in one measure."""

    mean: Interval
    sd: float | None  # over seeds; None for a single one
    difference: Interval | None  # to the baseline; None where there is none


@dataclass(frozen=True)
class Entry:
    """One variant."""

    name: str  # of its folder
    label: str
    outcomes: dict[int, Outcome] = field(default_factory=dict)  # by seed
    failures: dict[int, str] = field(default_factory=dict)  # by seed: why there is no outcome
    cost: float = 1.0  # a run takes as long as one of another variant

    def values(self, measure: Measure) -> dict[int, float]:
        """Return a measure of each run, by seed."""
        return {seed: outcome.values[measure.name] for seed, outcome in self.outcomes.items()}


@dataclass(frozen=True)
class Measures(Cells):
    """Variants, the first of which is the baseline, and what they are measured by."""

    entries: Sequence[Entry]
    seeds: Sequence[int]
    measures: Sequence[Measure]  # the first is what differences are taken of
    panels: Sequence[Panel]
    notes: Sequence[str]  # sentences that say how it was made

    def summary(self, entry: Entry, measure: Measure) -> Summary | None:
        """Return what the runs of ``entry`` come to so far, None before the first."""
        values = entry.values(measure)
        if not values:
            return None
        found, baseline = list(values.values()), self.entries[0]
        return Summary(
            mean=interval(found),
            sd=statistics.stdev(found) if len(found) > 1 else None,
            difference=None if entry is baseline else paired(values, baseline.values(measure)),
        )
