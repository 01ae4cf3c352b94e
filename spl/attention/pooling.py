"""Means and maxima for attention gates: the usual values, with cheaper gradients."""

import torch
from torch import Tensor


def mean(x: Tensor, dim: int) -> Tensor:
    """Return the mean of ``x`` over ``dim``, which goes away.

    The gradient of a sum is a view, that of ``Tensor.mean`` a tensor of the size of ``x``, filled and read
    once more: a fifth of the time of squeeze-excitation, forward and backward. A sum of half-precision
    numbers can overflow (it ends at 65,504), so that these take the long way.
    """
    return x.mean(dim) if x.dtype == torch.float16 else x.sum(dim) / x.shape[dim]


def mixed(average: Tensor, most: Tensor, alpha: Tensor | None, beta: Tensor | None) -> Tensor:
    """Return HAM's mixture of means and maxima, ``(mean + max) / 2 + alpha mean + beta max``; None is 0.

    Source: Li et al. (2022), HAM, equation 5.
    """
    if alpha is None or beta is None:
        return 0.5 * (average + most)
    return (0.5 + alpha) * average + (0.5 + beta) * most


def largest(x: Tensor, dim: int) -> Tensor:
    """Return the maximum of ``x`` over ``dim``, which goes away; NaN stays NaN.

    With a gradient, the first index of the maximum is kept and gets all of it. `torch.amax` divides it among
    equals, which takes three more passes over ``x`` than this; without a gradient it is the faster one.
    """
    if torch.is_grad_enabled() and x.requires_grad:
        return x.max(dim).values
    return x.amax(dim)
