"""What a recurrent agent learns along sequences. The losses themselves are in `targets` and `thirds`."""

from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from spl.agents.decoupled import Sizes
from spl.agents.dqn_config import DqnConfig
from spl.agents.replay.sequences import Sequences
from spl.agents.targets import Answers
from spl.agents.thirds import Views, asymmetric


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
        rates, ahead = self._ahead(self.rates, self.batch.ahead), self.batch.ahead
        chosen = self._ahead(self.values, ahead).mapped(Tensor.detach) if self.config.double else rates
        before = [self._now(self.rates).whole] if self.config.munchausen else None
        return Answers([self._now(self.values).whole], [rates.whole], [chosen.whole], before)

    def alone(self, sizes: Sizes) -> list[Tensor]:
        """Return the loss of each of these steps as one modality alone, ``(B L,)``; without thirds []."""
        if not self.values.alone:
            return []
        batch, nearest = self.batch, torch.ones_like(self.batch.ahead)
        rates = self._ahead(self.rates, nearest)
        chosen = self._ahead(self.values, nearest).mapped(Tensor.detach) if self.config.double else rates
        numbers = batch.action, batch.reward_soon, batch.discount_soon
        return asymmetric(
            *(self._now(self.values), rates, chosen),
            *(one.flatten(0, 1) for one in numbers),
            sizes=sizes,
            huber=self.config.huber,
        )

    def _now(self, views: Views) -> Views:
        """Return those of the ``B L`` steps."""
        return views.mapped(lambda one: one[:, : self.batch.ahead.shape[1]].flatten(0, 1))

    def _ahead(self, views: Views, distance: Tensor) -> Views:
        """Return those of the steps ``distance (B, L)`` ahead of them."""
        rows, num_learned = distance.shape
        places = torch.arange(num_learned, device=distance.device) + distance  # (B, L)
        at = torch.arange(rows, device=distance.device)[:, None], places
        return views.mapped(lambda one: one[at].flatten(0, 1))
