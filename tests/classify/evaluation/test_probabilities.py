"""Temperatures and calibration errors against numbers worked out by hand."""

import math

import pytest
import torch

from spl.classify.evaluation.probabilities import Bin, calibration_error, reliability, temperature_of


def test_the_temperature_makes_the_mean_probability_the_accuracy():
    # two classes, logits +-m with 3 of 4 right: least where sigmoid(2 m / t) = 3/4, t = 2 m / ln 3
    logits = torch.tensor([[4.0, -4.0]] * 4)
    labels = torch.tensor([0, 0, 0, 1])
    assert temperature_of(logits, labels) == pytest.approx(8 / math.log(3), rel=2e-3)
    assert temperature_of(logits / 100, labels) == pytest.approx(0.08 / math.log(3), rel=2e-3)


def test_the_temperature_stays_within_its_range():
    logits = torch.tensor([[1.0, 0.0]] * 4)
    assert temperature_of(logits, torch.zeros(4, dtype=torch.int64)) == pytest.approx(0.05, rel=2e-3)
    assert temperature_of(logits, torch.ones(4, dtype=torch.int64)) == pytest.approx(20.0, rel=2e-3)
    with pytest.raises(ValueError, match="at least one image, got none"):
        temperature_of(logits[:0], torch.zeros(0, dtype=torch.int64))


def test_bins_and_their_error():
    probabilities = torch.tensor([0.5, 0.4, 0.45, 1.0], dtype=torch.float64)
    is_right = torch.tensor([True, False, True, True])
    bins = reliability(probabilities, is_right, num_bins=2)  # 0.5 is on the edge, and below
    assert bins[0] == Bin(3, pytest.approx(0.45), pytest.approx(2 / 3))
    assert bins[1] == Bin(1, 1.0, 1.0)
    assert calibration_error(bins) == pytest.approx(3 / 4 * (2 / 3 - 0.45))
    assert calibration_error([Bin(1, 0.9, 0.0), Bin(3, 0.5, 1.0)]) == pytest.approx(0.9 / 4 + 3 * 0.5 / 4)
    with pytest.raises(ValueError, match="at least one image, got none"):
        calibration_error([Bin(0, 0.0, 0.0)])
    assert sum(one.images for one in reliability(torch.tensor([0.0, 1.0]), is_right[:2])) == 2
