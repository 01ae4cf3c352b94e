"""The only backward pass of training: one step down the weighted mean of the samples' losses."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def descend(
    losses: Tensor,
    weights: Tensor,
    optimizer: torch.optim.Optimizer,
    parameters: Sequence[nn.Parameter],
    *,
    max_grad_norm: float | None,
) -> Tensor:
    """Take one optimizer step down ``sum(w_i l_i) / B`` and return that mean, detached.

    Divided by the number of samples, not by the weights' sum: leaving samples out makes a smaller step.

    Args:
        losses: ``(B,)`` with a graph.
        weights: ``(B,)``, detached.
        optimizer: of ``parameters``.
        parameters: what is clipped.
        max_grad_norm: largest Euclidean norm of the whole gradient; None leaves it.

    Raises:
        ValueError: if the shapes of losses and weights differ.
    """
    if losses.shape != weights.shape or losses.dim() != 1:
        raise ValueError(
            f"losses and weights must both be (B,), got {tuple(losses.shape)} and {tuple(weights.shape)}"
        )
    loss = (losses * weights).mean()
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    if max_grad_norm is not None:
        _clip(parameters, max_grad_norm)
    optimizer.step()
    return loss.detach()


def _clip(parameters: Sequence[nn.Parameter], max_norm: float) -> None:
    """Scale the gradients down to ``max_norm``, as ``clip_grad_norm_`` does to the bit.

    It multiplies by 1 where nothing is to be clipped, which spares a GPU the wait for the norm. On the CPU
    there is no wait, and a twentieth of an update is saved by leaving the gradients alone.
    """
    norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
    if norm.device.type != "cpu" or not max_norm / (norm + 1e-6) >= 1.0:  # NaN is passed on
        torch.nn.utils.clip_grads_with_norm_(parameters, max_norm, norm)
