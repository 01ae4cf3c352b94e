"""Mean and variance seen in batches are those of the whole."""

import pytest
import torch

from spl.data.statistics import Moments
from spl.training.losses import reconstruction


@pytest.mark.parametrize("sizes", [(40,), (1, 39), (7, 0, 30, 3)])
def test_moments_are_those_of_the_whole_whatever_the_batches(sizes: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(0)
    x = 1000 + torch.randn(40, 2, 3, generator=generator, dtype=torch.float64)  # a sum of squares would round
    moments = Moments()
    for part in x.split(sizes):
        moments.add(part)
    assert moments.count == 40
    torch.testing.assert_close(moments.mean, x.mean(dim=0).float())
    assert moments.variance == pytest.approx(x.var(dim=0, correction=0).mean().item(), rel=1e-9)


def test_moments_by_hand() -> None:
    moments = Moments()
    moments.add(torch.tensor([[0.0, 5.0], [2.0, 5.0]]))
    moments.add(torch.tensor([[4.0, 5.0]]))
    assert moments.mean.tolist() == [2.0, 5.0]
    assert moments.variance == pytest.approx((8 / 3 + 0) / 2)


def test_what_never_changes_has_no_variance() -> None:
    moments = Moments()
    moments.add(torch.full((5, 3), 0.1))
    moments.add(torch.full((2, 3), 0.1))
    assert moments.variance == 0.0


def test_predicting_the_mean_costs_1() -> None:
    x = torch.rand(30, 2, 4, generator=torch.Generator().manual_seed(0))
    moments = Moments()
    moments.add(x)
    losses = reconstruction(moments.mean.expand_as(x), x, variance=moments.variance)
    assert losses.mean().item() == pytest.approx(1.0, abs=1e-5)
