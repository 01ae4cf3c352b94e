"""Quantiles of the return in place of its mean: the loss that they learn from, and what of them is acted on.

``theta_i(s, a)`` for ``i = 1..N`` estimates the quantile of the return at ``tau_i = (2 i - 1) / (2 N)``, the
middle of the ``i``-th of ``N`` equal shares of its probability. Of one quantile it is ordinary Q-learning.

Source: Dabney, Rowland, Bellemare, Munos (2018), Distributional reinforcement learning with quantile
regression.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional


def middles(num_quantiles: int, like: Tensor) -> Tensor:
    """Return ``tau_i = (2 i - 1) / (2 N)``, ``(N,)``, on the device and in the precision of ``like``."""
    return (torch.arange(num_quantiles, device=like.device, dtype=like.dtype) + 0.5) / num_quantiles


def quantile_regression(
    values: Tensor, targets: Tensor, *, huber: bool, fractions: Tensor | None = None
) -> Tensor:
    """Return how far quantiles lie from those of a target distribution, per sample.

    ``2 sqrt(N) mean_ij |tau_i - 1[delta_ij < 0]| L(delta_ij)`` with ``delta_ij = y_j - theta_i``, and ``L``
    the Huber loss (gradient clipped at 1) or the magnitude. The expectation over ``j`` is smallest where
    ``theta_i`` is the target's quantile at ``tau_i``; for the Huber loss nearly so: it is quadratic near 0.

    The source adds the losses of the ``N`` quantiles (``N mean_ij``). Here they count ``2 sqrt(N)`` times
    their mean: of one quantile that is `temporal_difference` with ``huber``, and of many, whose first weights
    point anywhere, what reaches the layers below is about as large, so that other losses beside it keep their
    part. Their plain mean learns too slowly (docs/results.md).

    Args:
        values: ``theta (B, N)``, in units of return.
        targets: ``y (B, M)``, detached; each as probable as another.
        huber: as above.
        fractions: ``tau (B, N)`` of the values; None: the middles of equal shares.

    Returns:
        ``(B,)``, non-negative.

    Raises:
        ValueError: if the shapes are others.

    Source: Dabney et al. (2018), equations 9 and 10, kappa 1; with drawn ``tau`` equation 3 of Dabney et al.
    (2018), Implicit quantile networks.
    """
    if values.dim() != 2 or targets.dim() != 2 or len(values) != len(targets):
        raise ValueError(
            f"values and targets must be (B, N) and (B, M), got {tuple(values.shape)}, {tuple(targets.shape)}"
        )
    delta = targets[:, None] - values[:, :, None]  # (B, N, M)
    far = functional.huber_loss(delta, torch.zeros_like(delta), reduction="none") if huber else delta.abs()
    tau = middles(values.shape[1], values)[None] if fractions is None else fractions  # (1 or B, N)
    tau = tau[:, :, None]
    scale = 2 * math.sqrt(values.shape[1])
    loss: Tensor = scale * ((tau - (delta < 0).to(tau.dtype)).abs() * far).mean(dim=(1, 2))
    return loss


def weights_of_risk(num_quantiles: int, risk: float, like: Tensor) -> Tensor:
    """Return the weights ``(N,)``, 1 in all, with which ascending quantiles make what is acted on.

    ``w_i = clip(risk N - (i - 1), 0, 1) / (risk N)``: the mean of the worst share ``risk`` of returns, the
    conditional value at risk. 1 is the mean of all, and towards 0 only the lowest quantile counts.

    Args:
        num_quantiles: ``N``.
        risk: in ``(0, 1]``.
        like: whose device and precision they have.

    Raises:
        ValueError: if ``risk`` is not in ``(0, 1]``.

    Source: Rockafellar, Uryasev (2000), Optimization of conditional value-at-risk; as a policy Dabney et al.
    (2018), Implicit quantile networks, section 3.
    """
    if not 0.0 < risk <= 1.0:
        raise ValueError(f"risk must be in (0, 1], got {risk}")
    worst = risk * num_quantiles
    places = torch.arange(num_quantiles, device=like.device, dtype=like.dtype)
    return (worst - places).clamp(0.0, 1.0) / worst


def acted_on(values: Tensor, risk: float) -> Tensor:
    """Return the ``(B, A)`` that are acted on: of quantiles ``(B, A, N)`` their mean, or that of the worst.

    What is learned without quantiles, ``(B, A)``, is acted on as it is. Quantiles learned apart may cross;
    the worst are the lowest, so with ``risk`` below 1 they are sorted.
    """
    if values.dim() == 2:
        return values
    if risk == 1.0:
        return values.mean(dim=2)
    return values.sort(dim=2).values @ weights_of_risk(values.shape[2], risk, values)
