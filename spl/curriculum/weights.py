"""Weights of samples in closed form: each minimises ``v L + f(v; pace)`` over ``v`` in [0, 1].

Each form stands beside its regulariser ``f``. All are pure, take losses ``(B,)`` and give ``(B,)`` in [0, 1],
without a graph; a loss that is NaN or infinite weighs 0. The pace is a positive number in the loss's unit, or
one for each sample. When a sample is scored and how the pace grows is not here.
"""

import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

Pace = float | Tensor


def hard(losses: Tensor, pace: Pace) -> Tensor:
    """Include what is easier than the pace: ``v = 1`` if ``L < pace``, else 0; at it both are optimal.

    Raises:
        ValueError: as all forms: if ``losses`` are not ``(B,)`` or the pace is not positive.

    Source: Kumar, Packer, Koller (2010), Self-paced learning for latent variable models, equation 3.
    """
    losses = _checked(losses, pace)
    return _of_finite((losses < pace).to(losses.dtype), losses)


def hard_regulariser(weights: Tensor, pace: Pace) -> Tensor:
    """Return ``-pace v`` for each ``v`` of ``weights (B,)``."""
    return -pace * weights


def linear(losses: Tensor, pace: Pace) -> Tensor:
    """Weigh by how far a loss lies below the pace: ``v = max(0, 1 - L / pace)``, 1 for negative losses.

    Source: Jiang et al. (2014), Easy samples first: self-paced reranking for zero-example multimedia search.
    """
    losses = _checked(losses, pace)
    return _of_finite(1.0 - losses / pace, losses)


def linear_regulariser(weights: Tensor, pace: Pace) -> Tensor:
    """Return ``pace (v^2 / 2 - v)`` for each ``v`` of ``weights (B,)``."""
    return pace * (weights**2 / 2 - weights)


def logarithmic(losses: Tensor, pace: Pace) -> Tensor:
    """Weigh by ``v = log(L + z) / log z`` with ``z = 1 - pace`` if ``L < pace``, else 0.

    More samples count as the pace grows; one that counts already may count less, as ``z`` nears 0.

    Args:
        losses: ``(B,)``, not negative.
        pace: in (0, 1).

    Raises:
        ValueError: if a loss is negative or a pace lies outside (0, 1), where there is no such logarithm.

    Source: Jiang et al. (2014), as `linear`.
    """
    losses = _checked(losses, pace)
    _check_logarithm(pace)
    if (losses < 0).any():
        raise ValueError(
            f"the logarithmic form needs losses of 0 or more, got {losses[losses < 0].min().item():g}; "
            "choose another scheme"
        )
    zeta = 1.0 - torch.as_tensor(pace, dtype=losses.dtype, device=losses.device)
    return _of_finite((losses + zeta).log() / zeta.log(), losses)


def logarithmic_regulariser(weights: Tensor, pace: Pace) -> Tensor:
    """Return ``z v - z^v / log z``, ``z = 1 - pace``, for each ``v`` of ``weights (B,)``."""
    _check_logarithm(pace)
    zeta = 1.0 - torch.as_tensor(pace, dtype=weights.dtype, device=weights.device)
    return zeta * weights - zeta**weights / zeta.log()


def _check_logarithm(pace: Pace) -> None:
    is_inside = bool(((pace > 0) & (pace < 1)).all()) if isinstance(pace, Tensor) else 0 < pace < 1
    if not is_inside:
        told = pace.max().item() if isinstance(pace, Tensor) else pace
        raise ValueError(f"the pace of the logarithmic form must be between 0 and 1, got {told:g}")


def mixture(losses: Tensor, pace: Pace, inner: float) -> Tensor:
    """Include the easy fully, leave out the hard, and weigh by ``v = z / L - z / pace`` between.

    1 if ``L <= inner pace``, 0 if ``L >= pace``; ``z = pace inner / (1 - inner)``. In the paper's letters
    ``lambda_1 = pace`` and ``lambda_2 = inner pace``.

    Args:
        inner: in (0, 1).

    Source: Jiang et al. (2014), as `linear`.
    """
    losses = _checked(losses, pace)
    _check_inner(inner)
    zeta = pace * inner / (1.0 - inner)
    between = zeta / losses - zeta / pace
    return _of_finite(torch.where(losses <= inner * pace, 1.0, between), losses)


def mixture_regulariser(weights: Tensor, pace: Pace, inner: float) -> Tensor:
    """Return ``-z log(v + z / pace)``, ``z = pace inner / (1 - inner)``, for each ``v`` of ``weights``."""
    _check_inner(inner)
    zeta = pace * inner / (1.0 - inner)
    return -zeta * (weights + zeta / pace).log()


def _check_inner(inner: float) -> None:
    if not 0.0 < inner < 1.0:
        raise ValueError(f"inner must be between 0 and 1, got {inner}")


def polynomial(losses: Tensor, pace: Pace, power: float) -> Tensor:
    """Weigh by ``v = (1 - L / pace)^(1 / (power - 1))`` if ``L < pace``, else 0; a power of 2 is `linear`.

    Args:
        power: the paper's ``t``, above 1; far above it is nearly `hard`.

    Source: Gong et al. (2019), Decomposition-based evolutionary multiobjective optimization to
    self-paced learning.
    """
    losses = _checked(losses, pace)
    _check_power(power)
    return _of_finite((1.0 - losses / pace).clamp(0.0, 1.0) ** (1.0 / (power - 1.0)), losses)


def polynomial_regulariser(weights: Tensor, pace: Pace, power: float) -> Tensor:
    """Return ``pace (v^power / power - v)`` for each ``v`` of ``weights (B,)``."""
    _check_power(power)
    return pace * (weights**power / power - weights)


def _check_power(power: float) -> None:
    if not 1.0 < power < math.inf:
        raise ValueError(f"power must be above 1 and finite, got {power}")


def logistic(losses: Tensor, pace: Pace) -> Tensor:
    """Weigh by ``v = (1 + exp(-pace)) / (1 + exp(L - pace))``: 1 at ``L = 0``, and never quite 0.

    Source: Xu, Tao, Xu (2015), Multi-view self-paced learning for clustering, equation 7.
    """
    losses = _checked(losses, pace)
    exponent = -torch.as_tensor(pace, dtype=losses.dtype, device=losses.device)
    return _of_finite((1.0 + exponent.exp()) * torch.sigmoid(-exponent - losses), losses)


def logistic_regulariser(weights: Tensor, pace: Pace) -> Tensor:
    """Return ``(a - v) log(a - v) + v log v - pace v``, ``a = 1 + exp(-pace)``, for each ``v``, ``(B,)``."""
    rest = 1.0 + torch.exp(-torch.as_tensor(pace, dtype=weights.dtype, device=weights.device)) - weights
    return torch.xlogy(rest, rest) + torch.xlogy(weights, weights) - pace * weights


def spld(losses: Tensor, groups: Tensor, pace: Pace, gamma: float) -> Tensor:
    """Include the easy of many groups: ``v = 1`` if ``L < pace + gamma / (sqrt i + sqrt(i - 1))``, else 0.

    ``i`` is the rank of the loss inside its group, from 1, ties in order; ``gamma = 0`` is `hard`.

    Args:
        groups: ``(B,)`` integers.
        gamma: what the first sample of a group gains, in the unit of the loss; not negative.

    Raises:
        ValueError: also if groups and losses are not equally many, or gamma is negative.

    Source: Jiang et al. (2014), Self-paced learning with diversity, algorithm 1.
    """
    losses = _checked(losses, pace)
    return _of_finite((losses < pace + diversity(losses, groups, gamma)).to(losses.dtype), losses)


def spld_regulariser(weights: Tensor, groups: Tensor, pace: float, gamma: float) -> Tensor:
    """Return ``-pace sum(v) - gamma sum_g ||v_g||_2``: ``()``, as groups do not separate."""
    squares = torch.zeros(int(groups.max()) + 1, dtype=weights.dtype).index_add_(0, groups, weights**2)
    return -pace * weights.sum() - gamma * squares.sqrt().sum()


def diversity(losses: Tensor, groups: Tensor, gamma: float) -> Tensor:
    """Return what SPLD adds to the pace of each sample, ``(B,)``: ``gamma / (sqrt i + sqrt(i - 1))``."""
    if groups.shape != losses.shape:
        raise ValueError(
            f"there must be one group for each of the {len(losses):,} losses, got {tuple(groups.shape)}"
        )
    if not 0.0 <= gamma < math.inf:
        raise ValueError(f"gamma must be finite and not negative, got {gamma}")
    order = torch.argsort(losses, stable=True)
    order = order[torch.argsort(groups[order], stable=True)]
    _, sizes = torch.unique_consecutive(groups[order], return_counts=True)
    first = torch.repeat_interleave(sizes.cumsum(0) - sizes, sizes)
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(losses), device=losses.device) - first  # from 0
    return gamma / ((rank + 1).sqrt() + rank.sqrt()).to(losses.dtype)


def _checked(losses: Tensor, pace: Pace) -> Tensor:
    """Return the losses without their graph."""
    if losses.dim() != 1 or (isinstance(pace, Tensor) and pace.shape not in ((), losses.shape)):
        told = f" and {tuple(pace.shape)}" if isinstance(pace, Tensor) else ""
        raise ValueError(
            f"losses must be (B,) and the pace one number or (B,), got {tuple(losses.shape)}{told}"
        )
    if not isinstance(pace, Tensor) and not pace > 0:  # a tensor is not looked at: it may lie on a device
        raise ValueError(f"the pace must be positive, got {pace}")
    return losses.detach()


def _of_finite(weights: Tensor, losses: Tensor) -> Tensor:
    """Return the weights in [0, 1], and 0 where the loss is NaN or infinite."""
    return torch.where(losses.isfinite(), weights, 0.0).clamp(0.0, 1.0)


class Scheme(NamedTuple):
    """A form and what it minimises; ``options`` are the fields of a config that it takes by name."""

    weights: Callable[..., Tensor]  # (losses (B,), pace, ...) -> (B,)
    regulariser: Callable[..., Any]  # (weights (B,), pace, ...) -> (B,), or their sum
    options: tuple[str, ...] = ()


SchemeName = Literal["hard", "linear", "logarithmic", "mixture", "polynomial", "logistic", "spld"]
SCHEMES: dict[SchemeName, Scheme] = {
    "hard": Scheme(hard, hard_regulariser),
    "linear": Scheme(linear, linear_regulariser),
    "logarithmic": Scheme(logarithmic, logarithmic_regulariser),
    "mixture": Scheme(mixture, mixture_regulariser, ("inner",)),
    "polynomial": Scheme(polynomial, polynomial_regulariser, ("power",)),
    "logistic": Scheme(logistic, logistic_regulariser),
    "spld": Scheme(spld, spld_regulariser, ("gamma",)),  # and groups, behind the losses or the weights
}
