"""Losses as pure functions: one number per sample, ``(B,)``, never reduced here."""

from torch import Tensor
from torch.nn import functional


def temporal_difference(values: Tensor, targets: Tensor, *, huber: bool = True) -> Tensor:
    """Return the loss of ``delta = target - value`` per sample.

    Huber: ``delta^2 / 2`` where ``|delta| <= 1``, else ``|delta| - 1/2``, so that its gradient is the clipped
    difference; otherwise ``delta^2 / 2``.

    Args:
        values: ``(B,)``, in units of return.
        targets: ``(B,)``, detached.
        huber: clip the gradient at 1.

    Returns:
        ``(B,)``, non-negative.

    Source: Mnih et al. (2015), Human-level control through deep reinforcement learning, Methods.
    """
    if huber:
        return functional.huber_loss(values, targets, reduction="none")
    return functional.mse_loss(values, targets, reduction="none") / 2
