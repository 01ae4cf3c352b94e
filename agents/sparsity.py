"""Sparsity of a Q-network's hidden units while it learns: the penalty that pretraining has."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from spl.agents.dqn_config import DqnConfig
from spl.models.encoder import TwoStreamEncoder
from spl.models.hidden_units import encoder_units
from spl.training.losses import SPARSITY


def by_gradient(penalty: Tensor) -> Tensor:
    """Return zeros of the shape of ``penalty`` that have its gradient, to be added to losses.

    Priorities, paces and rows then go on telling the temporal-difference loss alone.
    """
    return penalty - penalty.detach()


class Sparsity:
    """Draws the hidden units of ``encoder`` to an expected activation, as ``config`` says.

    Penalised are the dense layers of both streams and the joint code, that of all views together: at each,
    ``sum_j (target - mean_k h_kj)^2``, or the mean of ``sum_j |h_kj|`` with l1.
    """

    def __init__(self, encoder: TwoStreamEncoder, config: DqnConfig) -> None:
        self.encoder = encoder
        self.target, self.weight = config.sparsity_target, config.sparsity_weight
        self._of_layer = SPARSITY[config.sparsity]

    def drawing(self, losses: Callable[..., Tensor], *given: Any) -> Tensor:
        """Return ``losses(*given)``, of any shape, with the gradient of the penalty of that pass.

        It is the batch that is sparse and not a transition, so it is added `by_gradient`; transitions that
        weigh less draw less.
        """
        with encoder_units(self.encoder) as units:
            found = losses(*given)
        return found + by_gradient(self.weight * self.penalty(units))

    def penalty(self, units: dict[str, Tensor]) -> Tensor:
        """Return the penalty ``()`` of all layers, added up, of their units ``(B, D)``."""
        return torch.stack([self._of_layer(made, self.target).mean() for made in units.values()]).sum()
