"""The loss of whole transitions: what each head's target is, and how far the head lies from it.

Networks and batches come from `spl.agents.dqn`; views of one modality are in
`spl.agents.q_network.thirds`.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from spl.agents.dqn_config import DqnConfig
from spl.agents.q_network.decoupled import Sizes, best, taken
from spl.agents.q_network.munchausen import munchausen_reward, soft_value
from spl.agents.q_network.quantiles import acted_on, quantile_regression
from spl.agents.replay.sequences import Steps
from spl.records import Batch
from spl.training.losses import temporal_difference


class Answers(NamedTuple):
    """What networks say of transitions from ``s`` to ``s'``: of each head ``(B, A)``, or ``(B, A, N)``."""

    values: Sequence[Tensor]  # the trained one of s
    rated: Sequence[Tensor]  # the target network of s'
    chosen: Sequence[Tensor]  # the one that chooses, of s'
    before: Sequence[Tensor] | None = None  # the target network of s, with munchausen
    fractions: Tensor | None = None  # (B, N), at which implicit quantiles `values` are

    def of_head(self, head: int) -> "tuple[Tensor, Tensor, Tensor, Tensor | None]":
        """Return those of one head."""
        before = None if self.before is None else self.before[head]
        return self.values[head], self.rated[head], self.chosen[head], before


def losses_of(
    answers: Answers, batch: Batch | Steps, counting: Tensor, *, config: DqnConfig, sizes: Sizes
) -> Tensor:
    """Return the loss of each transition ``(B,)``, those of all heads added up.

    ``delta = R + discount * Q_target(s', a*) - Q(s, a)``, where ``discount`` is ``gamma^m`` or 0 after the
    task's end, and ``a*`` maximises ``Q_target(s', .)``, or with ``double`` ``Q(s', .)``. With quantiles each
    has such a target, and the loss is `quantile_regression`.

    With ``munchausen`` the reward is ``R + alpha max(tau log pi(a | s), -1)``, and what follows is the value
    of the policy ``pi = softmax(Q_target / tau)`` in place of the maximum (`munchausen` of the network). The
    term of ``a`` is added once, however many rewards ``R`` has: the states between are in no batch.

    Args:
        answers: of the networks.
        batch: of ``B``.
        counting: ``(B, n)``, by which each head's loss counts.
        config: the options.
        sizes: of the action's dimensions.

    Source: Mnih et al. (2015), Methods; van Hasselt et al. (2016), Deep RL with double Q-learning, eq. 4.
    """
    total = torch.zeros_like(batch.reward)
    for head in range(len(answers.values)):
        value, rate, choice, before = answers.of_head(head)
        reward, following = _ahead(rate, choice, before, batch, config, sizes)
        value_taken = taken(value, batch.action, sizes)
        if value.dim() == 2:
            target = reward + batch.discount * following
            loss = temporal_difference(value_taken, target, huber=config.huber)
        else:
            target = reward[:, None] + batch.discount[:, None] * following
            loss = quantile_regression(value_taken, target, huber=config.huber, fractions=answers.fractions)
        total = total + loss * counting[:, head]
    return total


def _ahead(
    rate: Tensor, choice: Tensor, before: Tensor | None, batch: Batch | Steps, config: DqnConfig, sizes: Sizes
) -> tuple[Tensor, Tensor]:
    """Return a head's reward ``(B,)``, and the value of what follows ``(B,)``, or ``(B, N)``."""
    policy = acted_on(choice, config.risk_among_quantiles)
    if before is None:
        return batch.reward, taken(rate, best(policy, sizes), sizes)
    soft: Any = {"temperature": config.munchausen_temperature, "sizes": sizes}
    now = acted_on(before, config.risk_among_quantiles)
    more = munchausen_reward(now, batch.action, share=config.munchausen, **soft)
    return batch.reward + more, soft_value(rate, policy, **soft)
