"""Means and maxima: torch's values, gradients that add up, NaN and large half-precision numbers."""

import pytest
import torch

from spl.attention.pooling import largest, mean

DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]


@pytest.mark.parametrize("dim", [1, 2])
@pytest.mark.parametrize("dtype", DTYPES)
def test_values_are_those_of_torch(dtype: torch.dtype, dim: int) -> None:
    x = torch.randn(2, 5, 7).to(dtype)
    torch.testing.assert_close(mean(x, dim), x.mean(dim))
    assert torch.equal(largest(x, dim), x.amax(dim))
    assert torch.equal(largest(x.clone().requires_grad_(), dim), x.amax(dim))


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_mean_does_not_overflow_where_the_sum_would(dtype: torch.dtype) -> None:
    x = torch.full((2, 3136), 40.0, dtype=dtype)  # the sum is 125,440
    assert (mean(x, 1) == 40.0).all()


@pytest.mark.parametrize("needs_gradient", [False, True])
def test_nan_stays(needs_gradient: bool) -> None:
    x = torch.tensor([[1.0, torch.nan, 3.0], [1.0, 2.0, torch.inf]], requires_grad=needs_gradient)
    for pooled in (mean(x, 1), largest(x, 1)):
        assert pooled[0].isnan()
        assert pooled[1] == torch.inf


def test_gradients_by_hand() -> None:
    x = torch.tensor([[3.0, 1.0, 3.0, 2.0]], requires_grad=True)
    (mean(x, 1) + 10 * largest(x, 1)).backward()
    assert x.grad.tolist() == [[10.25, 0.25, 0.25, 0.25]]  # of equal maxima the first gets all
