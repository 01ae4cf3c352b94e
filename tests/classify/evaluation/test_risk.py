"""Risk and thresholds by hand; that a promise is kept is tried on thousands of made-up classifiers."""

import numpy as np
import pytest
import torch

from spl.classify.evaluation.risk import (
    Threshold,
    fewest_images,
    highest_error,
    risk_coverage,
    threshold_for,
)


def test_risk_is_of_the_most_probable_answers():
    probabilities = torch.tensor([0.5, 0.9, 0.7, 0.7])
    is_right = torch.tensor([False, True, False, True])
    assert risk_coverage(probabilities, is_right).tolist() == [0.0, 1 / 2, 1 / 3, 1 / 2]


def test_the_bound_is_clopper_and_pearsons():
    # without a mistake: (1 - e)^n = 1 - c; one of two wrong: 1 - e^2 = 0.05
    assert highest_error(0, 149, 0.95) == pytest.approx(1 - 0.05 ** (1 / 149))
    assert highest_error(1, 2, 0.95) == pytest.approx(0.95**0.5)
    assert highest_error(3, 3, 0.95) == 1.0
    assert highest_error(0, 0, 0.95) == 1.0


def test_the_fewest_answers_that_can_promise():
    assert fewest_images(0.02, 0.95) == 149  # 0.98^148 = 0.0503, 0.98^149 = 0.0493
    assert highest_error(0, 149, 0.95) <= 0.02 < highest_error(0, 148, 0.95)


def test_the_threshold_lets_through_as_many_as_the_promise_allows():
    probabilities = torch.linspace(0.0, 1.0, 1_001)[1:]
    is_right = probabilities > 0.3
    found = threshold_for(probabilities, (probabilities, is_right), max_error=0.02, confidence=0.95)
    assert 0.27 < found.probability < 0.3
    assert found.answered == int((probabilities >= found.probability).sum())
    assert found.wrong == int(((probabilities >= found.probability) & ~is_right).sum())
    assert found.bound == highest_error(found.wrong, found.answered, 0.95) <= 0.02
    every = threshold_for(probabilities, (probabilities, probabilities > 0), max_error=0.02, confidence=0.95)
    assert every == Threshold(0.0, 1_000, 0, highest_error(0, 1_000, 0.95))


def test_too_few_images_promise_nothing():
    sure = torch.ones(148)
    assert threshold_for(sure, (sure, sure > 0), max_error=0.02, confidence=0.95) is None
    sure = torch.ones(149)
    assert threshold_for(sure, (sure, sure > 0), max_error=0.02, confidence=0.95).answered == 149
    wrong_at_once = torch.linspace(0.0, 1.0, 1_000)
    is_right = wrong_at_once < 0.8
    assert threshold_for(wrong_at_once, (wrong_at_once, is_right), max_error=0.02, confidence=0.95) is None


def test_the_promise_is_broken_no_more_often_than_it_says():
    """A classifier whose probabilities say nothing, and is wrong a little more often than is promised."""
    generator, broken = np.random.default_rng(0), 0
    for _ in range(2_000):
        chosen, tested = (torch.from_numpy(generator.random(400)) for _ in range(2))
        is_right = torch.from_numpy(generator.random(400) >= 0.0501)
        found = threshold_for(chosen, (tested, is_right), max_error=0.05, confidence=0.95)
        broken += found is not None
    assert 0 < broken / 2_000 <= 0.05 + 3 * (0.05 * 0.95 / 2_000) ** 0.5
