"""Figures of an evaluation: the interquartile mean, its interval, and how much of the return is retained."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spl.ablation.statistics import interval
from spl.agents.conditions import MOST_STEPS
from spl.runs.directory import generator_of

ALL, RANDOM, ORACLE = "all modalities", "random actions", "oracle"  # what the others are held against
NUM_RESAMPLES = 2_000  # of the bootstrap


class Outcome(NamedTuple):
    """Returns and lengths of one agent under one condition: sets of episodes, ``(seeds, episodes)``."""

    returns: NDArray[np.float64]
    lengths: NDArray[np.int64]


class Retained(NamedTuple):
    """Share of the return that a condition leaves, with its 95 % interval."""

    value: float
    low: float
    high: float


def interquartile_mean(values: NDArray[np.float64]) -> float:
    """Return the mean of the middle half: a quarter of the values, rounded down, is cut at each end.

    Source: Agarwal et al. (2021), Deep RL at the edge of the statistical precipice, section 4.3.
    """
    ordered = np.sort(values, axis=None)
    cut = ordered.size // 4
    return float(ordered[cut : ordered.size - cut].mean())


def bootstrap_interval(values: NDArray[np.float64], generator: np.random.Generator) -> tuple[float, float]:
    """Return the 95 % interval of the interquartile mean of ``values (seeds, episodes)``.

    Percentile bootstrap, the episodes drawn again within each seed (stratified).
    """
    num_seeds, num_episodes = values.shape
    rows = np.arange(num_seeds)[:, None]
    means = [
        interquartile_mean(values[rows, generator.integers(num_episodes, size=values.shape)])
        for _ in range(NUM_RESAMPLES)
    ]
    low, high = np.percentile(means, (2.5, 97.5))
    return float(low), float(high)


def retained(
    found: NDArray[np.float64],
    everything: NDArray[np.float64],
    chance: NDArray[np.float64],
    generator: np.random.Generator,
) -> Retained | None:
    """Return ``(R_condition - R_random) / (R_all - R_random)``, each ``R`` a mean return.

    1 is what the agent gets with all modalities, 0 what random actions get. Percentile bootstrap over all
    episodes. The same episodes are drawn for all three, as they begin alike: what they share cancels out.
    The interval is of this agent, not of its training repeated.

    Args:
        found: returns under the condition, ``(seeds, episodes)``.
        everything: with all modalities, likewise.
        chance: of random actions, likewise.
        generator: draws the episodes.

    Returns:
        None where all modalities do not earn more than random actions for certain (the 95 % interval of
        the difference, paired by episode, by Student's t and by bootstrap, reaches 0, or there is one
        episode): there is nothing to retain.
    """
    certain = interval((everything - chance).ravel().tolist()).low
    drawn = generator.integers(found.size, size=(NUM_RESAMPLES, found.size))
    one, best, least = (returns.ravel()[drawn].mean(axis=1) for returns in (found, everything, chance))
    gains = best - least  # (NUM_RESAMPLES,)
    if certain is None or certain <= 0 or np.percentile(gains, 2.5) <= 0:
        return None
    is_gain = gains > 0
    low, high = np.percentile((one - least)[is_gain] / gains[is_gain], (2.5, 97.5))
    value = (found.mean() - chance.mean()) / (everything.mean() - chance.mean())
    return Retained(float(value), float(low), float(high))


def told(outcome: Outcome, seed: int) -> dict[str, Any]:
    """Return one condition's figures as JSON holds them; its sets of episodes are of one agent: one pool."""
    low, high = bootstrap_interval(outcome.returns.reshape(1, -1), generator_of(seed, "bootstrap"))
    return {
        "interquartile_mean": interquartile_mean(outcome.returns),
        "interval_95": [low, high],
        "mean": float(outcome.returns.mean()),
        "standard_deviation": float(outcome.returns.std()),
        "mean_length": float(outcome.lengths.mean()),
        "num_cut": int((outcome.lengths >= MOST_STEPS).sum()),  # that did not end by themselves
        "returns": outcome.returns.tolist(),
    }


def outcomes_as_json(outcomes: dict[str, Outcome], seed: int) -> dict[str, Any]:
    """Return the figures of all conditions, and what they retain or why nothing can be said of that."""
    everything, chance = outcomes[ALL].returns, outcomes[RANDOM].returns
    figures = {name: told(one, seed) for name, one in outcomes.items()}
    result: dict[str, Any] = {"conditions": figures}
    for name, one in figures.items():
        if name in (ALL, RANDOM, ORACLE):
            continue
        share = retained(outcomes[name].returns, everything, chance, generator_of(seed, "retained"))
        if share is None:
            result["not_retained"] = (
                f"nothing to retain: with all modalities the return is {everything.mean():.3g}, with random "
                f"actions {chance.mean():.3g}, and the difference is not significant"
            )
            break
        one["retained"], one["retained_95"] = share.value, [share.low, share.high]
    return result
