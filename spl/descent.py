"""The only backward pass of training: one step down the weighted mean of the samples' losses."""

from collections.abc import Sequence
from typing import Any

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
    norm = gradient_norm(parameters)
    if not (loss + norm).isfinite():
        raise NonFiniteError(f"the loss is {loss.item()} and its gradient's norm {norm.item()}")
    if max_grad_norm is not None:
        clip(parameters, max_grad_norm, norm)
    optimizer.step()
    return loss.detach()


def clip(parameters: Sequence[nn.Parameter], max_grad_norm: float, norm: Tensor) -> None:
    """Shorten the whole gradient, of length ``norm ()``, to ``max_grad_norm`` where it is longer."""
    if max_grad_norm / (norm + 1e-6) < 1.0:  # a factor of 1 costs as much
        torch.nn.utils.clip_grads_with_norm_(parameters, max_grad_norm, norm)


def gradient_norm(parameters: Sequence[nn.Parameter]) -> Tensor:
    """Return the Euclidean norm ``()`` of the whole gradient."""
    return torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])


def restore(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Let ``optimizer`` go on from its ``state``, each moment laid out in memory as its parameter is.

    A fused step walks both through memory side by side, and loading lays channels_last out anew.
    """
    optimizer.load_state_dict(state)
    for parameter, moments in optimizer.state.items():
        for name, moment in moments.items():
            if isinstance(moment, Tensor) and moment.shape == parameter.shape:
                moments[name] = torch.empty_like(parameter, requires_grad=False).copy_(moment)
