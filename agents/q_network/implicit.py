"""Implicit quantiles: a head that is asked for the return's quantile at any share ``tau`` of its probability.

The loss is `spl.agents.q_network.quantiles`; which head learns it is the option ``agent.head``.

Source: Dabney, Ostrovski, Silver, Munos (2018), Implicit quantile networks for distributional reinforcement
learning.
"""

import math

import numpy as np
import torch
from torch import Tensor, nn

from spl.agents.q_network.decoupled import Sizes
from spl.agents.q_network.draws import Draws
from spl.agents.q_network.heads import QHead
from spl.agents.q_network.quantiles import middles
from spl.models.streams import initialise

NUM_COSINES = 64  # that embed a share
NUM_ACTING = 32  # shares whose quantiles' mean is acted on


class ImplicitHead(nn.Module):
    """A Q-head whose code is multiplied by an embedding of ``tau``.

    ``Z_tau(s, a) = f(code * relu(W (cos(pi i tau))_i + b))`` with ``i = 0..63`` and ``f`` a `QHead`.

    Args:
        features: ``D``, width of the code.
        sizes: of the action's dimensions.
        dueling: of ``f``.
        risk: the worst share of returns, by whose mean it acts: by quantiles at shares within it.

    Source: Dabney et al. (2018), equation 4; risk is their section 3, with CVaR. Differs: acting takes the
    middles of 32 equal shares, where they draw 32, so that the same weights always act alike.
    """

    def __init__(self, features: int, sizes: Sizes, *, dueling: bool, risk: float) -> None:
        super().__init__()
        self.embedding = initialise(nn.Linear(NUM_COSINES, features), "relu")
        self.values = QHead(features, sizes, dueling=dueling)
        self.risk = risk

    def forward(self, code: Tensor, fractions: Tensor | None = None) -> Tensor:
        """Return quantiles ``(B, A, N)`` for ``code (B, D)``.

        Args:
            code: of any precision.
            fractions: ``tau (B, N)`` in 0..1; None for the 32 that are acted on.
        """
        weight = self.embedding.weight
        code = code.to(weight.dtype)
        if fractions is None:
            fractions = self.risk * middles(NUM_ACTING, weight)[None]  # (1, N)
        steps = math.pi * torch.arange(NUM_COSINES, device=weight.device, dtype=weight.dtype)
        embedded = self.embedding((fractions[:, :, None] * steps).cos()).relu()  # (B or 1, N, D)
        asked = code[:, None] * embedded  # (B, N, D)
        values = self.values(asked.flatten(0, 1))  # (B N, A)
        return values.unflatten(0, asked.shape[:2]).transpose(1, 2)  # type: ignore[no-any-return]


class Fractions(Draws):
    """The shares at which a batch is learned: drawn uniformly for each transition, of ``s`` and of ``s'``.

    Args:
        num: ``N``, of each.
        generator: owns the draws.
    """

    def __init__(self, num: int, generator: np.random.Generator) -> None:
        super().__init__(generator)
        self.num = num

    def draw(self, size: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return ``tau`` and ``tau'``, ``(B, N)`` each."""
        now, ahead = torch.from_numpy(self.generator.random((2, size, self.num), np.float32)).to(device)
        return now, ahead

    def fixed(self, size: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return the middles of ``N`` equal shares for both: what is scored draws nothing."""
        even = middles(self.num, torch.zeros((), device=device)).expand(size, -1)
        return even, even
