"""What a recurrent agent learns along sequences. The losses themselves are in `targets` and `thirds`."""

from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from spl.agents.dqn_config import DqnConfig
from spl.agents.q_network.decoupled import Sizes
from spl.agents.q_network.thirds import Views, asymmetric
from spl.agents.replay.sequences import Sequences
from spl.agents.targets import Answers


class Along(NamedTuple):
    """What two networks say at the steps of ``B`` sequences, and of the steps ahead that targets are made of.

    Both start at the recurrent state that was stored when the first step was played, a modality alone at 0,
    and bring it up to date over the burn-in.

    Source: Kapturowski et al. (2019), Recurrent experience replay in distributed reinforcement learning.
    Differs: rewards are not rescaled, replay is uniform, and both networks start at the same stored state.
    """

    batch: Sequences
    config: DqnConfig
    values: Views  # of the trained network, ``(B, L + n_step, A)`` or of quantiles ``(B, L + n_step, A, N)``
    rates: Views  # of the target network

    @classmethod
    def of(cls, batch: Sequences, trained: Any, rating: Any, config: DqnConfig) -> Self:
        """Return them of ``trained``, whose values have a graph, and of ``rating``."""
        steps = *batch[:6], torch.tensor(config.burn_in)
        values = trained.unrolled(*steps)
        with torch.no_grad():
            return cls(batch, config, values, rating.unrolled(*steps))

    def answers(self) -> Answers:
        """Return the answers at each step that may be learned, ``(B L, A)``, or of quantiles."""
        ahead, values = self.batch.ahead, self.values.whole.detach()
        rated = self._ahead(self.rates.whole, ahead)
        chosen = self._ahead(values, ahead) if self.config.double else rated
        before = [self._steps(self.rates.whole, 0)] if self.config.munchausen else None
        return Answers([self._steps(self.values.whole, 0)], [rated], [chosen], before)

    def alone(self, sizes: Sizes) -> list[Tensor]:
        """Return the loss of each of these steps as one modality alone, ``(B L,)``; without thirds []."""
        if not self.values.alone:
            return []
        now = self.values.mapped(lambda one: self._steps(one, 0))
        rates = self.rates.mapped(lambda one: self._steps(one, 1))
        chosen = self.values.mapped(lambda one: self._steps(one.detach(), 1)) if self.config.double else rates
        numbers = self.batch.action, self.batch.reward_soon, self.batch.discount_soon
        return asymmetric(
            *(now, rates, chosen),
            *(one.flatten(0, 1) for one in numbers),
            sizes=sizes,
            huber=self.config.huber,
        )

    def _steps(self, values: Tensor, first: int) -> Tensor:
        """Return those of the ``B L`` steps, or of as many that begin ``first`` steps later."""
        return values[:, first : first + self.batch.ahead.shape[1]].flatten(0, 1)

    def _ahead(self, values: Tensor, distance: Tensor) -> Tensor:
        """Return those of the steps ``distance (B, L)`` ahead of them."""
        rows, num_learned = distance.shape
        places = torch.arange(num_learned, device=distance.device) + distance  # (B, L)
        return values[torch.arange(rows, device=distance.device)[:, None], places].flatten(0, 1)
