"""Probabilities that mean what they say: temperature scaling, and the expected calibration error."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

NUM_BINS = 15
COLDEST, HOTTEST = 0.05, 20.0  # temperatures that are looked at


def temperature_of(logits: Tensor, labels: Tensor) -> float:
    """Return the temperature ``t`` in 0.05..20 by which logits are divided so that their loss is least.

    The cross-entropy of ``logits / t`` is convex in ``1 / t``, so it has one valley over ``log t``: golden
    sections, to a thousandth.

    Args:
        logits: ``(N, K)`` of held-out images.
        labels: ``(N,)`` int64.

    Raises:
        ValueError: if there is no image.

    Source: Guo et al. (2017), On calibration of modern neural networks, section 4.2.
    """
    if not len(logits):
        raise ValueError("a temperature needs at least one image, got none")
    exact = logits.double()

    def loss(logarithm: float) -> float:
        return float(torch.nn.functional.cross_entropy(exact / math.exp(logarithm), labels))

    low, high, golden = math.log(COLDEST), math.log(HOTTEST), (math.sqrt(5) - 1) / 2
    while high - low > 1e-3:
        left, right = high - golden * (high - low), low + golden * (high - low)
        if loss(left) <= loss(right):
            high = right
        else:
            low = left
    return math.exp((low + high) / 2)


class Bin(NamedTuple):
    """Images whose probability lies in one of equal parts of 0..1."""

    images: int
    probability: float  # mean; 0 of an empty bin
    accuracy: float  # share that is right


def reliability(probabilities: Tensor, is_right: Tensor, *, num_bins: int = NUM_BINS) -> list[Bin]:
    """Return the bins of probabilities ``(N,)`` of the answers, of which ``is_right (N,)`` bool are right.

    A probability on an edge belongs to the bin below it.
    """
    places = (probabilities.double() * num_bins).ceil().long().clamp(1, num_bins) - 1
    bins = []
    for place in range(num_bins):
        inside = places == place
        count = int(inside.sum())
        means = (float(one[inside].double().mean()) if count else 0.0 for one in (probabilities, is_right))
        bins.append(Bin(count, *means))
    return bins


def calibration_error(bins: list[Bin]) -> float:
    """Return the expected calibration error: ``sum_b n_b / N |accuracy_b - probability_b|``.

    Raises:
        ValueError: if all bins are empty.

    Source: Naeini et al. (2015), Obtaining well calibrated probabilities using Bayesian binning; Guo et al.
    (2017), equation 3.
    """
    total = sum(one.images for one in bins)
    if not total:
        raise ValueError("a calibration error needs at least one image, got none")
    return sum(one.images * abs(one.accuracy - one.probability) for one in bins) / total
