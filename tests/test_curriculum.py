"""The contract of every curriculum in the table: one finite weight per loss, and no gradient."""

import pytest
import torch

from spl.curriculum import CURRICULA, uniform


@pytest.mark.parametrize("name", CURRICULA)
@pytest.mark.parametrize("size", [1, 5])
def test_gives_one_finite_weight_per_sample(name: str, size: int) -> None:
    losses = torch.linspace(0.0, 3.0, size)
    before = losses.clone()
    weights = CURRICULA[name](losses)
    assert weights.shape == (size,)
    assert weights.dtype == losses.dtype
    assert not weights.requires_grad
    assert torch.isfinite(weights).all()
    assert (weights >= 0).all()
    assert torch.equal(losses, before)


def test_uniform_makes_no_choice() -> None:
    assert uniform(torch.tensor([0.0, 7.0, 1e9])).tolist() == [1.0, 1.0, 1.0]
