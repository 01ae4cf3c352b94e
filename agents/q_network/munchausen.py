"""Munchausen targets: a soft policy's value of what follows, and its log-probability as part of the reward.

Source: Vieillard, Pietquin, Geist (2020), Munchausen reinforcement learning, equation 1 for means, section 4
for quantiles. Of ``J`` dimensions ``exp(mean_j Q_j / tau)`` is a product, and so is the policy.
"""

import torch
from torch import Tensor

from spl.agents.q_network.decoupled import Sizes, parts_of, taken

LOWEST = -1.0  # of the log-policy in units of reward, below which it is cut


def log_policy(values: Tensor, temperature: float, sizes: Sizes) -> Tensor:
    """Return ``log pi_j(a_j | s) = log_softmax(Q_j(s, .) / (J tau))`` of each dimension, ``(B, A)``.

    Args:
        values: ``Q(s, .) (B, A)``, in units of return.
        temperature: ``tau``, in the same unit.
        sizes: of the action's ``J`` dimensions.
    """
    scaled = values / (len(sizes) * temperature)
    return torch.cat([part.log_softmax(dim=1) for part in parts_of(scaled, sizes)], dim=1)


def munchausen_reward(
    values: Tensor, action: Tensor, *, share: float, temperature: float, sizes: Sizes
) -> Tensor:
    """Return ``alpha max(tau log pi(a | s), -1)``, ``(B,)`` in ``[-alpha, 0]``, that a reward gets more.

    Args:
        values: of the target network at ``s``, ``(B, A)``.
        action: ``(B,)`` int64, or ``(B, J)``.
        share: ``alpha``.
        temperature, sizes: as of `log_policy`.
    """
    logs = taken(log_policy(values, temperature, sizes), action, sizes) * len(sizes)
    return share * (temperature * logs).clamp(LOWEST, 0.0)


def soft_value(rated: Tensor, values: Tensor, *, temperature: float, sizes: Sizes) -> Tensor:
    """Return ``sum_a pi(a | s) (Z(s, a) - tau log pi(a | s))``, ``(B,)``, or of each quantile ``(B, N)``.

    Args:
        rated: ``Z(s, .)``: ``Q(s, .) (B, A)``, for which it is ``tau log sum_a exp(Q(s, a) / tau)``, or
            quantiles ``(B, A, N)``.
        values: ``(B, A)``, of which the policy is made.
        temperature, sizes: as of `log_policy`.
    """
    logs = log_policy(values, temperature, sizes)
    policy = logs.exp()
    entropy = -(policy * logs).sum(dim=1)  # (B,), of all dimensions
    if rated.dim() == 3:
        policy, entropy = policy[:, :, None], entropy[:, None]
    return (policy * rated).sum(dim=1) / len(sizes) + temperature * entropy
