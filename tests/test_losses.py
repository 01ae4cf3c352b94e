"""The temporal-difference loss by hand, on both sides of where its gradient is clipped."""

import json
import math
from pathlib import Path

import pytest
import torch

from spl.losses import classification, temporal_difference

CASE = json.loads((Path(__file__).parent / "data" / "mdqn.json").read_text())["td_clip"]
TARGETS = torch.tensor(CASE["y"], dtype=torch.float64)


def values() -> torch.Tensor:
    return torch.tensor(CASE["q"], dtype=torch.float64, requires_grad=True)


def test_huber_by_hand() -> None:
    expected = torch.tensor(CASE["huber"], dtype=torch.float64)
    torch.testing.assert_close(temporal_difference(values(), TARGETS), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("target", "loss"), [(0.0, 0.0), (1.0, 0.5), (-1.0, 0.5), (1.5, 1.0), (-3.0, 2.5)])
def test_huber_at_and_around_one(target: float, loss: float) -> None:
    assert temporal_difference(torch.zeros(1), torch.tensor([target])).tolist() == [loss]


def test_squared_by_hand() -> None:
    losses = temporal_difference(values(), TARGETS, huber=False)
    expected = torch.tensor([delta**2 / 2 for delta in CASE["delta"]], dtype=torch.float64)
    torch.testing.assert_close(losses, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("huber", "key"), [(True, "clipped"), (False, "delta")])
def test_the_gradient_is_the_difference_clipped_by_huber_alone(huber: bool, key: str) -> None:
    q = values()
    losses = temporal_difference(q, TARGETS, huber=huber)
    assert losses.shape == (3,)
    losses.sum().backward()
    torch.testing.assert_close(-q.grad, torch.tensor(CASE[key], dtype=torch.float64), rtol=0, atol=1e-12)


LOGITS = torch.tensor([[0.0, 0.0], [2.0, 0.0], [2.0, 0.0]], dtype=torch.float64)
LABELS = torch.tensor([1, 0, 1])


def test_classification_by_hand() -> None:
    rest = math.log(1.0 + math.exp(-2.0))
    expected = torch.tensor([math.log(2.0), rest, 2.0 + rest])
    torch.testing.assert_close(classification(LOGITS, LABELS), expected)


def test_label_smoothing_by_hand() -> None:
    rest = math.log(1.0 + math.exp(-2.0))
    expected = torch.tensor([math.log(2.0), 0.9 * rest + 0.1 * (2.0 + rest), 0.1 * rest + 0.9 * (2.0 + rest)])
    torch.testing.assert_close(classification(LOGITS, LABELS, label_smoothing=0.2), expected)
    with pytest.raises(ValueError, match=r"label_smoothing must be in \[0, 1\), got 1.0"):
        classification(LOGITS, LABELS, label_smoothing=1.0)


def test_classification_of_half_precision_is_float() -> None:
    assert classification(LOGITS.bfloat16(), LABELS).dtype == torch.float32
