"""Decoupled Q-values: a utility for each value of each dimension of an action, and what is made of them.

``Q(s, a) = mean_j Q_j(s, a_j)`` for an action ``a = (a_1, ..., a_J)``. So the best action is the best of each
dimension, and ``n_1 + ... + n_J`` numbers stand for the values of ``n_1 ... n_J`` actions. Of one dimension
it is ordinary Q-learning. The loss is that of the mean's error, not the mean of losses of the dimensions.

Here ``values (B, A)`` are the utilities, those of one dimension after those of another, ``A`` the sum of the
sizes. Which dimensions an environment has is in `spl.envs.actions`.

Source: Seyde et al. (2023), Solving continuous control via Q-learning, section 3. Tavakoli et al. (2018),
Action branching architectures, have the same mean as their target, but a loss for each dimension.
"""

from collections.abc import Callable
from itertools import accumulate

import torch
from torch import Tensor

Score = Callable[[Tensor], Tensor]  # of (B, A), to (B,)
Sizes = tuple[int, ...]  # (n_1, ..., n_J)


def parts_of(values: Tensor, sizes: Sizes) -> tuple[Tensor, ...]:
    """Return the utilities ``(B, n_j)`` of each dimension."""
    return torch.split(values, list(sizes), dim=1)


def best(values: Tensor, sizes: Sizes) -> Tensor:
    """Return the best action by ``values (B, A)``: ``(B,)`` of one dimension, else ``(B, J)``."""
    if len(sizes) == 1:
        return values.argmax(dim=1)
    return torch.stack([part.argmax(dim=1) for part in parts_of(values, sizes)], dim=1)


def taken(values: Tensor, action: Tensor, sizes: Sizes) -> Tensor:
    """Return ``Q(s, a) (B,)`` of ``action``, ``(B,)`` of one dimension, else ``(B, J)``.

    Of quantiles ``(B, A, N)`` it is ``(B, N)``: those of the dimensions are averaged each with its like.
    """
    places = action.to(values.device)[:, None] if len(sizes) == 1 else action.to(values.device)
    if len(sizes) > 1:
        places = places + torch.tensor([0, *accumulate(sizes[:-1])], device=values.device)
    if values.dim() == 3:
        places = places[:, :, None].expand(-1, -1, values.shape[2])
    found = values.gather(1, places)  # (B, J)
    return found.squeeze(1) if len(sizes) == 1 else found.mean(dim=1)


def means_within(values: Tensor, sizes: Sizes) -> Tensor:
    """Return the mean of each dimension's values, at the place of each of them: ``(B, A)`` or ``(B, 1)``."""
    if len(sizes) == 1:
        return values.mean(dim=1, keepdim=True)
    return torch.cat(
        [part.mean(dim=1, keepdim=True).expand_as(part) for part in parts_of(values, sizes)], dim=1
    )


def mean_of_all(values: Tensor, sizes: Sizes) -> Tensor:
    """Return the mean ``(B,)`` of ``Q(s, a)`` over all actions: that of the dimensions' means."""
    return torch.stack([part.mean(dim=1) for part in parts_of(values, sizes)]).mean(dim=0)


def q_value(action: Tensor, sizes: Sizes) -> Score:
    """Return the score ``Q(s, a)``."""
    return lambda values: taken(values, action, sizes)


def advantage(action: Tensor, sizes: Sizes) -> Score:
    """Return the score ``A(s, a) = Q(s, a) - mean_a' Q(s, a')``.

    Of a dueling network it is exactly its centred advantage: the value is the mean over the actions.
    """
    return lambda values: taken(values, action, sizes) - mean_of_all(values, sizes)


def probability(values: Tensor, action: Tensor, sizes: Sizes) -> Tensor:
    """Return the softmax over all actions ``(B,)`` at ``action``: ``prod_j softmax(Q_j / J)_{a_j}``.

    ``exp(mean_j Q_j)`` is a product over the dimensions, and so is its sum over all actions.
    """
    parts = parts_of(values.float(), sizes)
    logs = torch.cat([(part / len(sizes)).log_softmax(dim=1) for part in parts], dim=1)
    return (taken(logs, action, sizes) * len(sizes)).exp()
