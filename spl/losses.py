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


def classification(logits: Tensor, labels: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
    """Return the cross-entropy between labels and the softmax of the logits, per sample.

    ``-sum_k q_k log p_k`` with ``q = (1 - e) onehot(y) + e / K``; without smoothing ``e = 0``.

    Args:
        logits: ``(B, K)``, unnormalised.
        labels: ``(B,)`` integers in ``0..K-1``.
        label_smoothing: ``e``, in ``[0, 1)``.

    Returns:
        ``(B,)``, non-negative, in nats, float32 whatever the logits are.

    Raises:
        ValueError: if ``label_smoothing`` lies outside ``[0, 1)``.

    Source: Szegedy et al. (2016), Rethinking the Inception architecture, section 7.
    """
    if not 0.0 <= label_smoothing < 1.0:
        raise ValueError(f"label_smoothing must be in [0, 1), got {label_smoothing}")
    return functional.cross_entropy(logits.float(), labels, reduction="none", label_smoothing=label_smoothing)
