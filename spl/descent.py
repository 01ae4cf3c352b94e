"""The only backward pass of training: one step down the weighted mean of the samples' losses."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class NonFiniteError(ArithmeticError):
    """A loss or a gradient that is NaN or infinite; no step was taken."""


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
        NonFiniteError: if the mean or the gradient's norm is not finite; the parameters stay as they are.
    """
    if losses.shape != weights.shape or losses.dim() != 1:
        raise ValueError(
            f"losses and weights must both be (B,), got {tuple(losses.shape)} and {tuple(weights.shape)}"
        )
    loss = (losses * weights).mean()
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    limit = float("inf") if max_grad_norm is None else max_grad_norm
    norm = torch.nn.utils.clip_grad_norm_(parameters, limit)
    if not (loss + norm).isfinite():
        raise NonFiniteError(f"the loss is {loss.item()} and its gradient's norm {norm.item()}")
    optimizer.step()
    return loss.detach()
