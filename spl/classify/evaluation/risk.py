"""Which answers to withhold: the risk among those that are given, and a threshold that keeps a promise."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

NUM_THRESHOLDS = 200  # that are tried, of as many shares of images answered


def risk_coverage(probabilities: Tensor, is_right: Tensor) -> Tensor:
    """Return the share of wrong answers among the ``1, 2 .. N`` most probable ones: ``(N,)``.

    Of answers that are as probable the first comes first.

    Args:
        probabilities: ``(N,)`` of the answers.
        is_right: ``(N,)`` bool.

    Source: El-Yaniv and Wiener (2010), On the foundations of noise-free selective classification.
    """
    order = probabilities.argsort(descending=True, stable=True)
    wrong = (~is_right[order]).double().cumsum(dim=0)
    return wrong / torch.arange(1, len(order) + 1)


def highest_error(num_wrong: int, num_images: int, confidence: float) -> float:
    """Return the error rate that is exceeded with a chance of at most ``1 - confidence``.

    The one-sided Clopper-Pearson bound: the quantile ``confidence`` of Beta(wrong + 1, right), 1 where all
    are wrong or there is no image.

    Source: Clopper and Pearson (1934), The use of confidence or fiducial limits.
    """
    if num_wrong >= num_images:
        return 1.0
    from scipy.special import betaincinv

    return float(betaincinv(num_wrong + 1, num_images - num_wrong, confidence))


def fewest_images(max_error: float, confidence: float) -> int:
    """Return how many answers without a mistake it takes to promise ``max_error``: ``(1 - e)^n <= 1 - c``."""
    return math.ceil(math.log(1 - confidence) / math.log(1 - max_error))


class Threshold(NamedTuple):
    """A probability from which answers are given, and what is known of them."""

    probability: float
    answered: int  # of the images that it was tested on
    wrong: int  # of these
    bound: float  # that their error rate keeps below, with the confidence asked for


def threshold_for(
    chosen_on: Tensor,
    tested_on: tuple[Tensor, Tensor],
    *,
    max_error: float,
    confidence: float,
) -> Threshold | None:
    """Return the lowest threshold whose answers err at most at ``max_error``, or None: none can be promised.

    Thresholds are quantiles of other images, so that they do not depend on those that they are tested on.
    From the strictest on they are tested one after the other, and the first that fails ends it: so the
    chance that the promise is broken is at most ``1 - confidence``, however many are tried. One with too few
    answers to promise anything is passed over; whether they are right has no part in that.

    Args:
        chosen_on: probabilities ``(M,)`` of other images' answers.
        tested_on: probabilities ``(N,)``, and which answers are right ``(N,)``.
        max_error: that is promised, inside 0..1.
        confidence: inside 0..1.

    Source: Angelopoulos et al. (2021), Learn then test, fixed-sequence testing; with the bound of
    `highest_error` as the test.
    """
    probabilities, is_right = tested_on
    least = fewest_images(max_error, confidence)
    found = None
    for probability in _candidates(chosen_on, least / max(1, len(probabilities))):
        answered = probabilities >= probability
        if int(answered.sum()) < least:
            continue
        count, wrong = int(answered.sum()), int((answered & ~is_right).sum())
        bound = highest_error(wrong, count, confidence)
        if bound > max_error:
            break
        found = Threshold(probability, count, wrong, bound)
    return found


def _candidates(probabilities: Tensor, least_share: float) -> Sequence[float]:
    """Return thresholds that let through from ``least_share`` of the images to all, the strictest first."""
    if least_share >= 1 or not len(probabilities):
        return [0.0]
    shares = torch.linspace(least_share, 1.0, NUM_THRESHOLDS, dtype=torch.float64)[:-1]
    values: list[float] = torch.quantile(probabilities.double(), 1 - shares).tolist()
    return [*dict.fromkeys(values), 0.0]
