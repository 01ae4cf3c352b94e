"""Measures of maps by hand: ties, clamps, divisors, areas, and what a perfect map is worth."""

import math

import pytest
import torch
from torch import Tensor, nn

from spl.explain.tables import Row, notes_on_even
from spl.saliency.metrics import (
    Curve,
    average_drop,
    average_increase,
    confidence,
    deletion,
    drops,
    explained,
    insertion,
    measure,
    pointing_accuracy,
    together,
    win_rate,
)

CASES = {
    "mixed with a tie": ([0.8, 0.5, 0.4, 0.9], [0.6, 0.7, 0.4, 0.0], 31.25, 25.0),
    "identity": ([0.5, 0.5], [0.5, 0.5], 0.0, 0.0),
    "all increase": ([0.2, 0.4], [0.4, 0.8], 0.0, 100.0),
    "halved": ([1.0, 0.5, 0.25], [0.5, 0.25, 0.125], 50.0, 0.0),
}


@pytest.mark.parametrize(("full", "masked", "drop", "increase"), CASES.values(), ids=CASES.keys())
def test_average_drop_and_increase_by_hand(full, masked, drop, increase):
    full, masked = torch.tensor(full), torch.tensor(masked)
    assert average_drop(full, masked) == pytest.approx(drop, abs=1e-5)
    assert average_increase(full, masked) == pytest.approx(increase)


class Linear(nn.Module):
    """Two classes, ``(w x, 0)``."""

    def __init__(self, *weights: float) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.tensor(weights))

    def forward(self, x: Tensor) -> Tensor:
        logit = (x.flatten(1) * self.weights).sum(dim=1)
        return torch.stack([logit, torch.zeros_like(logit)], dim=1)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def test_a_linear_model_through_its_map():
    model, x = Linear(1.0, 1.0), torch.tensor([1.0, 2.0]).reshape(1, 1, 1, 2)
    maps, index = torch.tensor([[[1.0, 0.0]]]), torch.tensor([0])
    full, masked = confidence(model, x, index), confidence(model, explained(x, maps), index)
    assert float(full) == pytest.approx(0.9525741268224)
    assert float(masked) == pytest.approx(0.73105857863)
    assert average_drop(full, masked) == pytest.approx(23.25441579348, abs=1e-4)
    whole = confidence(model, explained(x, torch.ones(1, 1, 2)), index)
    assert (average_drop(full, whole), average_increase(full, whole)) == (0.0, 0.0)
    # The other class is asked about: its confidence is the rest
    assert float(confidence(model, x, torch.tensor([1]))) == pytest.approx(1 - 0.9525741268224)


def test_the_map_multiplies_every_channel_of_its_input_and_no_other():
    x, y = torch.arange(1.0, 9.0).reshape(1, 2, 2, 2), torch.ones(1, 1, 1, 3)
    flags = torch.ones(1, 2, dtype=torch.bool)
    maps = torch.tensor([[[0.0, 0.5], [1.0, 0.25]]])
    shown = explained((x, y, flags), (maps, None))
    assert shown[0].tolist() == [[[[0.0, 1.0], [3.0, 1.0]], [[0.0, 3.0], [7.0, 2.0]]]]
    assert shown[1].tolist() == y.tolist()
    assert shown[2].all()
    of_bytes = explained(torch.full((1, 1, 3, 2, 2), 5, dtype=torch.uint8), maps)
    assert of_bytes.dtype == torch.uint8
    assert of_bytes[0, 0, 1].tolist() == [[0, 2], [5, 1]]


def test_win_rate_by_hand():
    full = torch.tensor([0.8, 0.8, 0.8, 0.8])
    ours, other = torch.tensor([0.6, 0.2, 0.9, 0.4]), torch.tensor([0.4, 0.6, 1.0, 0.4])
    # smaller, larger, both none, alike
    assert win_rate(full, ours, other) == 25.0
    assert win_rate(full, other, ours) == 25.0


@pytest.mark.parametrize(
    ("full", "masked", "said"),
    [
        ([0.5], [0.5, 0.5], r"one shape \(N,\) of at least one image"),
        ([], [], "at least one image"),
        ([0.0, 0.5], [0.1, 0.1], r"positive on the images .* got 0.0"),
        ([0.5], [-0.1], "not negative with maps"),
    ],
)
def test_confidences_that_do_not_fit(full, masked, said):
    for judge in (drops, average_drop, average_increase):
        with pytest.raises(ValueError, match=said):
            judge(torch.tensor(full), torch.tensor(masked))


def test_curves_by_hand():
    model, x = Linear(1.0, 2.0, -1.0, 0.0), torch.ones(1, 1, 2, 2)
    maps, index = torch.tensor([[[0.4, 0.9], [0.1, 0.1]]]), torch.tensor([0])
    shown = insertion(model, x, maps, index, num_steps=4)
    assert shown.shares.tolist() == [0.0, 0.25, 0.5, 0.75, 1.0]
    expected = [sigmoid(logit) for logit in (0, 2, 3, 2, 2)]  # of alike pixels the first comes first
    assert shown.confidences[0].tolist() == pytest.approx(expected)
    assert float(shown.areas) == pytest.approx(0.25 * (sum(expected) - (expected[0] + expected[-1]) / 2))
    taken = deletion(model, x, maps, index, num_steps=4)
    assert taken.confidences[0].tolist() == pytest.approx([sigmoid(logit) for logit in (2, 0, -1, 0, 0)])
    other = insertion(model, x, maps, index, num_steps=1, baseline=1.0)
    assert other.confidences[0].tolist() == pytest.approx([sigmoid(2)] * 2), "nothing to be shown"


def test_area_of_a_straight_line():
    line = Curve(torch.tensor([0.0, 0.5, 1.0]), torch.tensor([[0.0, 0.5, 1.0], [1.0, 1.0, 1.0]]))
    assert line.areas.tolist() == [0.5, 1.0]


def test_a_better_map_has_more_area_by_insertion_and_less_by_deletion():
    generator = torch.Generator().manual_seed(0)
    weights = torch.zeros(64)
    weights[:8] = 0.5
    model, x = Linear(*weights.tolist()), torch.rand(5, 1, 8, 8, generator=generator) + 0.5
    good, index = (2 * weights).reshape(1, 8, 8).expand(5, 8, 8), torch.zeros(5, dtype=torch.int64)
    ours, other = (measure(model, x, maps, index).summary() for maps in (good, 1 - good))
    assert ours["insertion"] > other["insertion"] + 0.2
    assert ours["deletion"] < other["deletion"] - 0.2
    assert ours["average_drop"] < 30.0 < other["average_drop"]


def test_maps_that_are_even_are_counted():
    model, x = nn.Sequential(nn.Flatten(), nn.Linear(8, 2)), torch.rand(3, 2, 2, 2)
    maps = torch.stack([torch.zeros(2, 2), torch.ones(2, 2), torch.tensor([[0.0, 1.0], [1.0, 1.0]])])
    found = measure(model, x, maps, torch.zeros(3, dtype=torch.long), num_steps=4)
    assert found.is_even.tolist() == [True, True, False]
    assert together([found, found]).is_even.tolist() == [True, True, False] * 2
    row = Row("a run", "grad-cam", together([found, found]), None)
    (sentence,) = notes_on_even([row])
    assert "measured all the same: 4 of 6 (a run, grad-cam). A layer of a single position" in sentence
    assert notes_on_even([]) == []


def test_batches_measure_as_the_whole():
    model, x = (
        Linear(1.0, 2.0, -1.0, 0.3),
        torch.randn(6, 1, 2, 2, generator=torch.Generator().manual_seed(0)),
    )
    maps, index = x[:, 0].relu(), (x.flatten(1).sum(dim=1) < 0).long()
    whole = measure(model, x, maps, index, num_steps=4)
    parts = [measure(model, x[at], maps[at], index[at], num_steps=4) for at in (slice(0, 4), slice(4, 6))]
    for one, other in zip(together(parts), whole, strict=True):
        torch.testing.assert_close(one, other)


def test_pointing_accuracy_by_hand():
    maps = torch.tensor([[[0.1, 0.9]], [[1.0, 0.2]], [[0.0, 0.0]], [[0.3, 0.4]]])
    masks = torch.tensor([[[False, True]], [[False, True]], [[True, True]], [[True, True]]])
    assert pointing_accuracy(maps, masks) == 0.5
    with pytest.raises(ValueError, match=r"one shape \(B, H, W\)"):
        pointing_accuracy(maps, masks[:1])


def test_too_few_steps():
    with pytest.raises(ValueError, match="num_steps must be at least 1, got 0"):
        insertion(Linear(1.0), torch.ones(1, 1, 1, 1), torch.ones(1, 1, 1), torch.tensor([0]), num_steps=0)
