"""The agent's own learning in thirds: each transition whole, as video alone, and as audio alone.

The formulas are here; the networks that they are about are in `spl.agents.dqn`.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from spl.agents.q_network.decoupled import Sizes, best, taken
from spl.training.losses import temporal_difference

VIEWS = ("all", "video", "audio")  # in the order of an agent's losses


class Views(NamedTuple):
    """Q-values ``(B, A)`` of one network in every view; ``full`` ones see all streams whatever the view."""

    whole: Tensor  # Q(s, .), or its quantiles (B, A, N)
    alone: tuple[Tensor, ...]  # Q(m_v(s), .) of video alone and of audio alone; or none, where not asked for
    full: tuple[Tensor, ...]  # Q_v^full(s, .), privileged: the value of acting by v alone
    codes: tuple[Tensor, ...] = ()  # (B, D), whole and of each of `alone`, of which the Q-values are made

    def mapped(self, change: Callable[[Tensor], Tensor]) -> "Views":
        """Return what a function makes of each."""
        alone, full, codes = (tuple(map(change, each)) for each in self[1:])
        return Views(change(self.whole), alone, full, codes)

    def part(self, start: int, stop: int) -> "Views":
        """Return those of the states ``start..stop``."""
        return self.mapped(lambda one: one[start:stop])


def asymmetric(
    values: Views,
    rated: Views,
    chosen: Views,
    action: Tensor,
    reward: Tensor,
    discount: Tensor,
    *,
    sizes: Sizes,
    huber: bool,
) -> list[Tensor]:
    """Return the loss of each transition as video alone and as audio alone, ``(B,)`` each.

    ``m_v(s)`` is what modality ``v`` alone shows of ``s``, and ``pi_v(s) = argmax_a Q(m_v(s), a)`` the policy
    that is to be good. Its value, known in full, obeys
    ``Q_v^full(s, a) = E[r + gamma Q_v^full(s', pi_v(s'))]``: an ordinary Bellman equation of a fixed policy
    on Markov states. What ``v`` can know of it is the conditional mean ``E[Q_v^full(s, a) | m_v(s)]``. So

    - ``y = r + discount Q_v^full,target(s', a')`` with ``a' = argmax_a Q(m_v(s'), a)``, and the privileged
      head has the temporal-difference loss of ``y - Q_v^full(s, action)``;
    - the masked network has ``sum_a (Q(m_v(s), a) - stop_grad Q_v^full(s, a))^2 / 2``, over all actions:
      least squares, whatever ``huber`` is, for a clipped gradient would end near the median. Of ``J``
      dimensions it is the mean of theirs: where all utilities agree, so do the values of all actions.

    The loss of the view is their sum; a weight between them would be one more number to tune, and each learns
    what the other needs. A target from the masked next observation, ``max_a Q(m_v(s'), a)``,
    is biased: ``m_v(s)`` is no Markov state, and ``m_v(s')`` forgets what made ``r`` and ``s'`` likely. One
    from the full policy, ``max_a Q(s', a)``, is too hopeful: it counts on a modality that will be gone.

    One step only: the rewards of an n-step return follow the behaviour's actions, not those of ``pi_v``.
    The gradient of the privileged head reaches the encoder, whose code must tell what the value of acting by
    ``v`` depends on; cutting it there leaves the head to what the other losses happen to need.

    Args:
        values: of the trained network at ``s``.
        rated: of the target network at ``s'``, one decision ahead.
        chosen: of the network that chooses at ``s'``.
        action: ``(B,)`` int64, or ``(B, J)``.
        reward: ``(B,)``, of one decision.
        discount: ``(B,)``, of one decision; 0 where the task ended.
        sizes: of the action's ``J`` dimensions.
        huber: of the privileged head's loss.

    Returns:
        The losses of video alone and of audio alone, ``(B,)`` each, non-negative.

    Source: Baisero, Daley, Amato (2022), Asymmetric DQN for partially observable reinforcement learning, for
    the pair of functions; Pinto et al. (2018), Asymmetric actor critic, for the idea. Differs: there the
    narrow function learns the sampled return of the action taken, here the privileged value of every action;
    and one encoder serves both functions and every view.
    """
    losses = []
    for alone, full, rate, choice in zip(values.alone, values.full, rated.full, chosen.alone, strict=True):
        following = taken(rate, best(choice, sizes), sizes)  # (B,)
        target = reward + discount * following
        privileged = temporal_difference(taken(full, action, sizes), target, huber=huber)
        projected = (alone - full.detach()).square().sum(dim=1) / (2 * len(sizes))  # (B,)
        losses.append(privileged + projected)
    return losses


def only(present: Tensor, stream: int) -> Tensor:
    """Return the flags ``(B, 2)`` with all but ``stream`` down."""
    kept = torch.zeros_like(present)
    kept[:, stream] = present[:, stream]
    return kept
