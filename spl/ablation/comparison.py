"""Comparison of several variants over the same seeds: their measures, and the summary of each.

How a run came about is not here; how a comparison is shown is in `tables` and `figures`.
"""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from spl.ablation.statistics import Interval, holm, interval, paired, paired_p

Rows = list[list[object]]  # of a file of numbers, the names of its columns first


class Measure(NamedTuple):
    """A number that a run ends with."""

    name: str  # of its column in files
    title: str  # of its column in tables
    digits: int  # behind the point
    axis: str  # what it is, for a picture

    def told(self, value: float) -> str:
        """Return a value with its name, and its unit where that is percent."""
        return f"{self.name} {value:.{self.digits}f}{' %' if self.title.endswith(' %') else ''}"


class Panel(NamedTuple):
    """A figure of a run's rows that is drawn over the run."""

    tag: str  # of the rows
    clock: str  # epoch or step
    scale: float  # by which it is multiplied
    axis: str
    is_log: bool = False  # it falls from chance by factors: how it begins is left out of the scale


class Outcome(NamedTuple):
    """How one run ended."""

    values: Mapping[str, float]  # by the name of the measure
    seconds: float
    curves: Mapping[str, Sequence[tuple[float, float]]]  # by the tag of the panel


class Summary(NamedTuple):
    """What the runs of one variant come to, in one measure."""

    mean: Interval
    sd: float | None  # over seeds; None for a single one
    best: float  # the lowest of the seeds
    difference: Interval | None  # to its baseline, over the seeds that both have; None where there are none


@dataclass(frozen=True)
class Entry:
    """One variant."""

    name: str  # of its folder
    label: str  # as tables name it
    facts: Mapping[str, int] = field(default_factory=dict)  # what is known of it before any run, for files
    cost: float = 1.0  # what a run of it takes, in any unit that is the same for all
    baseline: str | None = None  # name of the variant that differences are to; None: the first of all
    outcomes: dict[int, Outcome] = field(default_factory=dict)  # by seed
    failures: dict[int, str] = field(default_factory=dict)  # by seed: why there is no outcome

    def values(self, measure: Measure) -> dict[int, float]:
        """Return a measure of each run, by seed."""
        return {seed: outcome.values[measure.name] for seed, outcome in sorted(self.outcomes.items())}


@dataclass(frozen=True)
class Comparison:
    """Variants, each with its baseline, and what they are measured by."""

    entries: Sequence[Entry]
    seeds: Sequence[int]  # that each is to be trained with
    measures: Sequence[Measure]  # the first is what differences are taken of
    panels: Sequence[Panel]
    notes: Sequence[str]  # sentences that say how it was made
    layout: "Layout"
    seconds_per_cost: float | None = None  # by a trial, until there are runs; None: nobody has tried

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

    @property
    def headline(self) -> str:
        """Its title, which says whether it is whole."""
        count = f"{self.num_finished} of {self.num_cells} cells"
        if self.num_failed:
            count += f", {self.num_failed} failed"
        return "Ablation" if self.num_finished == self.num_cells else f"Ablation, PARTIAL: {count}"

    @property
    def sentences(self) -> list[str]:
        """How it was made, and a sentence for each run that broke off."""
        failed = [
            f"Failed: {entry.label}, seed {seed}: {reason}"
            for entry in self.entries
            for seed, reason in sorted(entry.failures.items())
        ]
        return [*self.notes, *failed]

    def summary(self, entry: Entry, measure: Measure) -> Summary | None:
        """Return what the runs of ``entry`` come to so far, None before the first."""
        values, baseline = entry.values(measure), self.baseline_of(entry)
        if not values:
            return None
        found = list(values.values())
        return Summary(
            mean=interval(found),
            sd=statistics.stdev(found) if len(found) > 1 else None,
            best=min(found),
            difference=None if entry is baseline else paired(values, baseline.values(measure)),
        )

    def baseline_of(self, entry: Entry) -> Entry:
        """Return the variant that the differences of ``entry`` are to; itself for a baseline."""
        named = (other for other in self.entries if other.name == entry.baseline)
        return next(named, self.entries[0])

    def p_values(self, measure: Measure) -> dict[str, tuple[float, float]]:
        """Return how likely chance makes each variant's difference, and that corrected for their number.

        By the variant's name; of those only that have two runs or more in common with their baseline.
        """
        found: dict[str, float] = {}
        for entry in self.entries:
            if (baseline := self.baseline_of(entry)) is not entry:
                p = paired_p(entry.values(measure), baseline.values(measure))
                found |= {} if p is None else {entry.name: p}
        corrected = holm(list(found.values()))
        return {name: (p, after) for (name, p), after in zip(found.items(), corrected, strict=True)}

    def seconds_left(self) -> float | None:
        """Return how long the missing runs take, by the finished ones, else by a trial; None without either.

        A variant takes what its own runs took. One without any takes the mean of the others, by its cost.
        """
        means = [
            (entry, statistics.fmean(outcome.seconds for outcome in entry.outcomes.values()))
            for entry in self.entries
            if entry.outcomes
        ]
        if not means and self.seconds_per_cost is None:
            return None
        per_cost = self.seconds_per_cost or 0.0
        if means:
            per_cost = sum(seconds for _, seconds in means) / max(1, sum(entry.cost for entry, _ in means))
        known = {entry.name: seconds for entry, seconds in means}
        left: float = sum(
            known.get(entry.name, per_cost * entry.cost)
            * (len(self.seeds) - len(entry.outcomes) - len(entry.failures))
            for entry in self.entries
        )
        return left


class Column(NamedTuple):
    """A column of the table."""

    title: str
    cell: Callable[[Comparison, Entry], str]


class Layout(NamedTuple):
    """How a comparison is laid out."""

    heading: str  # of the variants: curriculum, architecture
    columns: Sequence[Column]  # of the table, between the variant and its number of seeds
    summary: Callable[[Comparison], Rows]  # what ``summary.csv`` holds
