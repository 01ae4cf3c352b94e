"""The only backward pass of training: one step on the weighted mean of the samples' losses."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from spl.training.shared import mean, sum_gradients, summed


class NonFiniteError(ArithmeticError):
    """A loss or a gradient that is NaN or infinite; no step was taken."""


class Walker(NamedTuple):
    """What takes a step of its own down a loss."""

    optimizer: torch.optim.Optimizer
    parameters: Sequence[nn.Parameter]  # that it moves
    max_grad_norm: float | None  # largest Euclidean norm of their whole gradient; None leaves it


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
    Where processes share the batch, each gives its rows, and all take the step of the whole batch.

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
    return descend_together(losses, weights, [Walker(optimizer, parameters, max_grad_norm)])


def descend_together(losses: Tensor, weights: Tensor, walkers: Sequence[Walker]) -> Tensor:
    """Let each of ``walkers`` take its step as `descend` does, down one loss; all of them or none."""
    if losses.shape != weights.shape or losses.dim() != 1:
        raise ValueError(
            f"losses and weights must both be (B,), got {tuple(losses.shape)} and {tuple(weights.shape)}"
        )
    loss = mean(losses * weights)
    for one in walkers:
        one.optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    loss = summed(loss.detach())
    for one in walkers:
        sum_gradients(one.parameters)
    norms = [_gradient_norm(one.parameters) for one in walkers]
    if not sum(norms, loss).isfinite():
        told = " and ".join(str(norm.item()) for norm in norms)
        raise NonFiniteError(f"the loss is {loss.item()} and its gradient's norm {told}")
    for one, norm in zip(walkers, norms, strict=True):
        if one.max_grad_norm is not None and one.max_grad_norm / (norm + 1e-6) < 1.0:  # 1 costs as much
            torch.nn.utils.clip_grads_with_norm_(one.parameters, one.max_grad_norm, norm)
        one.optimizer.step()
    return loss


def _gradient_norm(parameters: Sequence[nn.Parameter]) -> Tensor:
    """Return the Euclidean norm ``()`` of the whole gradient."""
    return torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])


def restore(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Let ``optimizer`` go on from its ``state``, each moment laid out in memory as its parameter is.

    A fused step walks both through memory side by side, and loading lays channels_last out again.
    """
    optimizer.load_state_dict(state)
    for parameter, moments in optimizer.state.items():
        for name, moment in moments.items():
            if isinstance(moment, Tensor) and moment.shape == parameter.shape:
                moments[name] = torch.empty_like(parameter, requires_grad=False).copy_(moment)
