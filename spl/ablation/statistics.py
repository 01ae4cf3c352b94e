"""Statistics over seeds: which seeds, means with intervals, paired differences and their p."""

import math
import re
import statistics
from collections.abc import Sequence
from typing import Any, NamedTuple

SHARE = 0.95  # of such intervals hold the true mean
MOST_SEEDS = 1_000  # in one range
DIGITS = 9  # of a difference: what is behind them is rounding


class Interval(NamedTuple):
    """A mean, and where the true one lies."""

    mean: float
    low: float | None  # None where there is only one value
    high: float | None


def paired(values: dict[int, float], baseline: dict[int, float]) -> Interval | None:
    """Return the mean difference to the baseline over the seeds that both have; None where there are none."""
    common = sorted(values.keys() & baseline.keys())
    return interval([values[seed] - baseline[seed] for seed in common]) if common else None


def paired_p(values: dict[int, float], baseline: dict[int, float]) -> float | None:
    """Return how likely chance alone makes a mean difference to the baseline this large, in either direction.

    Student's t-test of the differences over the seeds that both have, ``t = mean sqrt(n) / s`` with ``n - 1``
    degrees of freedom. None of fewer than two pairs; 1 where all pairs are equal, 0 where all differ alike.

    Source: Student (1908), The probable error of a mean.
    """
    common = sorted(values.keys() & baseline.keys())
    differences = [round(values[seed] - baseline[seed], DIGITS) for seed in common]
    if len(differences) < 2:
        return None
    mean, sd = statistics.fmean(differences), statistics.stdev(differences)
    if sd == 0.0:
        return 1.0 if mean == 0.0 else 0.0
    from scipy.special import stdtr

    return 2.0 * float(stdtr(len(differences) - 1, -abs(mean) * math.sqrt(len(differences)) / sd))


def holm(found: Sequence[float]) -> list[float]:
    """Return each p of several comparisons, corrected so that at 0.05 one in twenty tables errs anywhere.

    The smallest of ``m`` counts ``m`` times, the next ``m - 1`` times, and so on; none counts less than one
    before it, and none more than 1.

    Source: Holm (1979), A simple sequentially rejective multiple test procedure.
    """
    corrected, largest = [0.0] * len(found), 0.0
    for rank, place in enumerate(sorted(range(len(found)), key=found.__getitem__)):
        largest = max(largest, min(1.0, (len(found) - rank) * found[place]))
        corrected[place] = largest
    return corrected


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


def read_seeds(text: str) -> list[int]:
    """Return the seeds that ``0-4`` or ``0,3,7`` names, in that order.

    Raises:
        ValueError: if it names none, one twice, or is neither.
    """
    seeds: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)(?:-(\d+))?\s*", part, re.ASCII)
        first, last = (0, -1) if match is None else (int(match[1]), int(match[2] or match[1]))
        if not first <= last < min(2**32, first + MOST_SEEDS):
            raise ValueError(
                f"seeds must be numbers up to {2**32 - 1}, such as 0,3,7, or rising ranges, 0-4, got {text!r}"
            )
        seeds += range(first, last + 1)
    if twice := [seed for seed in seeds if seeds.count(seed) > 1]:
        raise ValueError(f"seeds must name each seed once, got {twice[0]} twice in {text!r}")
    return seeds


def check_seeds(config: Any) -> None:
    """Refuse a grid's ``seeds`` that are none, and a ``seed`` beside them.

    Raises:
        ValueError: in one sentence.
    """
    if config.seed != 0:
        raise ValueError(f"--seeds names the seeds of a grid: leave seed out, got {config.seed}")
    read_seeds(config.seeds)
